//! An NBD server.
//!
//! The protocol is pure code: bytes in, bytes or values out. Sockets and threads are thin around it.
//!
//! | module | idea |
//! |---|---|
//! | [`wire`] | the protocol's numbers and fields |
//! | [`negotiation`] | the handshake as a state machine |
//! | [`context`] | metadata contexts: queries, extents |
//! | [`request`] | a request taken apart, and what to do about it |
//! | [`reply`] | replies put together: simple, structured, extended |
//! | [`export`] | what is exported: the one thing that a user of this crate brings |
//! | [`answer`] | from a checked request to its reply |
//! | [`transmission`] | the threads of one connection |
//! | `outbox` | replies of several threads, one after the other |
//! | `polling` | waiting for a client without sleeping |
//! | [`channel`] | a connection as bytes both ways, in plain or with TLS |
//! | [`tls`] | certificates, and which clients are let in |
//! | [`server`] | connections from their first byte to their last |
//! | [`listen`] | sockets to listen on, and their URIs |
//!
//! [`answer`], [`transmission`] and what follows know sockets; nothing above them does.
//!
//! # Rules of the protocol
//!
//! Each with the test that holds the server to it, in `tests/`.
//!
//! | rule | test |
//! |---|---|
//! | the greeting has both magics, FIXED_NEWSTYLE and NO_ZEROES | `greeting_has_both_magics_and_both_flags` |
//! | client flags that nobody knows close | `unknown_client_flags_close` |
//! | EXPORT_NAME: 124 zeros, none with NO_ZEROES | `export_name_pads_with_124_zeros_unless_agreed_otherwise` |
//! | EXPORT_NAME of no export closes | `export_name_that_is_unknown_closes` |
//! | EXPORT_NAME has no replies, also when its name has 4 GiB | `export_name_of_4_gib_closes_without_a_word` |
//! | ABORT is acknowledged, then the end | `abort_is_acknowledged_and_closes` |
//! | LIST tells each export, then ACK | `list_tells_names_and_descriptions` |
//! | LIST has no data | `list_with_data_is_invalid` |
//! | unknown options are ERR_UNSUP, the next is read | `unknown_options_are_unsupported_and_parsing_goes_on` |
//! | data that is too long is ERR_TOO_BIG and passed over | `option_of_4_gib_is_too_big_and_passed_over_in_constant_memory` |
//! | names are UTF-8 without NUL | `names_with_nul_or_that_are_not_utf8_are_invalid` |
//! | names have at most 4096 bytes | `names_of_4097_bytes_are_too_big` |
//! | INFO and GO tell EXPORT, and of the rest what was asked for | `go_and_info_tell_only_what_was_asked_for` |
//! | export flags name exactly what the server can | `export_flags_say_what_the_server_can` |
//! | SEND_DF only with structured replies | `df_flag_only_with_structured_replies` |
//! | GO of no export is ERR_UNKNOWN, the handshake goes on | `go_of_an_unknown_name_is_refused_and_the_handshake_goes_on` |
//! | lengths inside an option must add up | `go_with_data_that_does_not_add_up_is_invalid` |
//! | INFO begins nothing | `info_does_not_begin_transmission` |
//! | after GO there are no options | `options_after_go_close` |
//! | an option without its magic closes | `wrong_magic_of_an_option_closes` |
//! | a request without its magic closes | `wrong_magic_of_a_request_closes` |
//! | requests have the header that was agreed on | `header_of_another_mode_closes` |
//! | STRUCTURED_REPLY once | `structured_reply_twice_is_invalid` |
//! | STRUCTURED_REPLY and EXTENDED_HEADERS have no data | `structured_reply_with_data_is_invalid_and_not_agreed_on` |
//! | STRUCTURED_REPLY after EXTENDED_HEADERS is ERR_EXT_HEADER_REQD | `structured_reply_after_extended_headers_is_refused` |
//! | EXTENDED_HEADERS takes the place of STRUCTURED_REPLY | `extended_headers_after_structured_replies_take_their_place` |
//! | contexts need structured replies | `meta_contexts_before_structured_replies_are_invalid` |
//! | SET_META_CONTEXT forgets the set before, also when it fails | `set_meta_context_replaces_the_set_before_even_when_it_fails` |
//! | contexts are for one export | `contexts_are_for_the_export_that_they_were_chosen_for` |
//! | `base:` alone lists and chooses nothing | `namespace_alone_lists_but_does_not_choose` |
//! | unknown namespaces are passed over | `unknown_namespaces_are_ignored` |
//! | LIST_META_CONTEXT gives number 0, and all without a query | `list_meta_context_gives_number_0_and_all_where_nothing_is_asked` |
//! | contexts of no export are ERR_UNKNOWN | `meta_contexts_of_an_unknown_export_are_unknown` |
//! | the count of queries must be right | `meta_contexts_whose_count_does_not_add_up_are_invalid` |
//! | bytes may come in any pieces | `bytes_that_come_one_by_one_are_understood` |
//! | a client need not wait for replies | `bytes_that_come_all_at_once_are_understood` |
//! | a simple read is one reply, however long | `long_simple_read_is_one_whole_reply` |
//! | a simple read fails before its header or not at all | `simple_read_that_fails_says_so_before_any_data` |
//! | 32 MiB are a payload that is answered | `chunks_cover_a_read_of_32_mib` |
//! | holes for zeros, with chunks alone | `zeros_are_sent_as_holes` |
//! | DF: one chunk; 64 KiB and more work | `df_gives_one_chunk` |
//! | DF over what is held: EOVERFLOW | `df_over_1_mib_is_overflow` |
//! | DF needs structured replies | `df_without_structured_replies_is_invalid` |
//! | a read past the end is EINVAL | `read_past_the_end_is_invalid` |
//! | offsets do not wrap | `offsets_that_overflow_are_invalid` |
//! | a read of nothing is no reason to leave | `read_of_nothing_is_no_reason_to_leave` |
//! | a read over the payload's maximum is EINVAL | `read_over_32_mib_is_invalid` |
//! | WRITE is drained and EPERM | `write_is_drained_and_not_permitted` |
//! | WRITE with wrong flags is drained, too | `write_with_wrong_flags_is_drained_as_well` |
//! | TRIM and WRITE_ZEROES are EPERM | `trim_and_write_zeroes_are_not_permitted` |
//! | unknown commands are EINVAL and have no payload | `unknown_commands_are_invalid` |
//! | PAYLOAD_LEN: the payload is drained whatever the command | `payload_that_a_flag_announces_is_drained` |
//! | FUA is accepted on every command | `fua_is_accepted_on_everything` |
//! | flags that were not agreed on are EINVAL | `flags_that_were_not_agreed_on_are_invalid` |
//! | FLUSH is answered | `flush_is_well` |
//! | CACHE brings what it names to hand | `cache_makes_later_reads_held` |
//! | CACHE is advice: damage is no error of it | `cache_of_what_is_damaged_is_no_error` |
//! | ERROR_OFFSET names the first byte that is bad | `damage_is_an_error_at_its_first_byte_and_neighbours_are_readable` |
//! | an error is of its request alone | `damage_does_not_touch_other_requests` |
//! | replies come in the order in which they are ready | `slow_read_does_not_hold_back_a_later_one` |
//! | as many as there are helpers are worked on at once | `slow_reads_do_not_hold_back_one_for_which_there_is_a_helper` |
//! | DISC waits for replies under way | `disconnect_comes_after_replies_that_are_under_way` |
//! | DISC has no reply | `disconnect_has_no_reply` |
//! | nothing behind DISC is heeded | `requests_behind_a_disconnect_are_not_answered` |
//! | each request has one reply | `thousands_of_requests_at_once_are_all_answered_once` |
//! | BLOCK_STATUS needs contexts | `status_without_contexts_is_invalid` |
//! | BLOCK_STATUS of nothing is EINVAL | `status_of_nothing_is_invalid` |
//! | BLOCK_STATUS past the end is EINVAL | `status_past_the_end_is_invalid` |
//! | `base:allocation`: data 0, holes 3 | `allocation_tells_data_and_holes_exactly` |
//! | one chunk for each context chosen | `status_is_one_chunk_for_each_context_chosen` |
//! | `x-melv:depth`: steps up the lineage | `depth_tells_steps_of_lineage` |
//! | REQ_ONE: one extent, within the request | `req_one_gives_one_extent_within_the_request` |
//! | extents have bytes and end with the request | `extents_never_reach_past_the_request` |
//! | extended headers: extents of 64 bits | `extent_of_more_than_4_gib_fits_extended_headers` |
//! | an extent that is cut is the last | `extent_of_nearly_4_gib_is_cut_and_nothing_follows_it` |
//! | many extents: as many as fit, the client asks on | `status_of_many_extents_is_bounded_and_goes_on_where_it_ends` |
//! | TLS required: ERR_TLS_REQD until it is there | `tls_required_tells_nothing_in_plain` |
//! | TLS required: EXPORT_NAME closes | `tls_required_closes_at_export_name` |
//! | no TLS: STARTTLS is ERR_POLICY | `tls_off_refuses_starttls_and_goes_on` |
//! | STARTTLS forgets all that was agreed on | `starttls_drops_what_was_agreed_on_before` |
//! | STARTTLS once | `starttls_twice_is_invalid` |
//! | STARTTLS has no data | `starttls_with_data_is_invalid` |
//! | what comes in plain behind STARTTLS is not heeded | `plain_bytes_behind_starttls_are_not_interpreted` |
//! | the TLS handshake ends in time, too | `slow_drip_of_a_tls_handshake_ends_in_time` |
//! | clients are let in by their certificate | `only_clients_with_the_right_certificate_are_let_in` |

pub mod answer;
pub mod channel;
pub mod context;
pub mod export;
pub mod listen;
pub mod negotiation;
mod outbox;
pub mod output;
mod polling;
pub mod reply;
pub mod request;
pub mod server;
pub mod tls;
pub mod transmission;
pub mod wire;

pub use channel::Socket;
pub use export::{Export, Exports};
pub use negotiation::TlsPolicy;
pub use server::{Listener, Server, ServerOptions};
