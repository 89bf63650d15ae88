//! An NBD server.
//!
//! The protocol is pure code: bytes in, bytes or values out. Sockets and threads are a thin layer
//! around it.
//!
//! | module | content |
//! |---|---|
//! | [`wire`] | the protocol's numbers and fields |
//! | [`negotiation`] | the handshake as a state machine |
//! | [`context`] | metadata contexts: queries, extents |
//! | [`request`] | decoding and checking requests |
//! | [`reply`] | encoding replies: simple, structured, extended |
//! | `export` | the exports, which the user of this crate supplies, as [`Exports`](melv_serve::Exports) |
//! | [`handler`] | answering checked requests |
//! | [`transmission`] | the threads of one connection |
//! | `send_queue` | replies of several threads, one after the other |
//! | `polling` | busy-polling for a client's requests |
//! | [`channel`] | a connection as bytes in both directions, with or without TLS |
//! | [`tls`] | certificates and client authentication |
//! | [`server`] | connections from their first byte to their last |
//! | [`listen`] | listening sockets and their URIs |
//!
//! Only [`handler`], [`transmission`] and the modules listed after them use sockets.
//!
//! # Rules of the protocol
//!
//! Each rule is listed with the test in `tests/` that enforces it.
//!
//! | rule | test |
//! |---|---|
//! | the greeting has both magics, FIXED_NEWSTYLE and NO_ZEROES | `greeting_has_both_magics_and_both_flags` |
//! | unknown client flags close the connection | `unknown_client_flags_close` |
//! | EXPORT_NAME: 124 zeros, none with NO_ZEROES | `export_name_pads_with_124_zeros_unless_agreed_otherwise` |
//! | EXPORT_NAME of an unknown export closes | `export_name_that_is_unknown_closes` |
//! | EXPORT_NAME has no replies, not even for a name of 4 GiB | `export_name_of_4_gib_closes_without_a_word` |
//! | ABORT is acknowledged, then the connection closes | `abort_is_acknowledged_and_closes` |
//! | LIST returns each export, then ACK | `list_tells_names_and_descriptions` |
//! | LIST has no data | `list_with_data_is_invalid` |
//! | unknown options are ERR_UNSUP, and the next option is read | `unknown_options_are_unsupported_and_parsing_goes_on` |
//! | data above the limit is ERR_TOO_BIG and skipped | `option_of_4_gib_is_too_big_and_passed_over_in_constant_memory` |
//! | names are UTF-8 without NUL | `names_with_nul_or_that_are_not_utf8_are_invalid` |
//! | names have at most 4096 bytes | `names_of_4097_bytes_are_too_big` |
//! | INFO and GO return EXPORT, and other items only on request | `go_and_info_tell_only_what_was_asked_for` |
//! | export flags match the server's abilities exactly | `export_flags_say_what_the_server_can` |
//! | SEND_DF only with structured replies | `df_flag_only_with_structured_replies` |
//! | GO of an unknown export is ERR_UNKNOWN, and the handshake continues | `go_of_an_unknown_name_is_refused_and_the_handshake_goes_on` |
//! | lengths inside an option must add up | `go_with_data_that_does_not_add_up_is_invalid` |
//! | INFO does not begin transmission | `info_does_not_begin_transmission` |
//! | an option after GO closes | `options_after_go_close` |
//! | an option without its magic closes | `wrong_magic_of_an_option_closes` |
//! | a request without its magic closes | `wrong_magic_of_a_request_closes` |
//! | a request header of another mode closes | `header_of_another_mode_closes` |
//! | STRUCTURED_REPLY is accepted once | `structured_reply_twice_is_invalid` |
//! | STRUCTURED_REPLY and EXTENDED_HEADERS have no data | `structured_reply_with_data_is_invalid_and_not_agreed_on` |
//! | STRUCTURED_REPLY after EXTENDED_HEADERS is ERR_EXT_HEADER_REQD | `structured_reply_after_extended_headers_is_refused` |
//! | EXTENDED_HEADERS replaces STRUCTURED_REPLY | `extended_headers_after_structured_replies_take_their_place` |
//! | contexts need structured replies | `meta_contexts_before_structured_replies_are_invalid` |
//! | SET_META_CONTEXT discards the previous set, even if it fails | `set_meta_context_replaces_the_set_before_even_when_it_fails` |
//! | contexts belong to one export | `contexts_are_for_the_export_that_they_were_chosen_for` |
//! | `base:` alone lists and selects nothing | `namespace_alone_lists_but_does_not_choose` |
//! | unknown namespaces are ignored | `unknown_namespaces_are_ignored` |
//! | LIST_META_CONTEXT returns number 0, and all contexts without a query | `list_meta_context_gives_number_0_and_all_where_nothing_is_asked` |
//! | contexts of an unknown export are ERR_UNKNOWN | `meta_contexts_of_an_unknown_export_are_unknown` |
//! | the count of queries must match | `meta_contexts_whose_count_does_not_add_up_are_invalid` |
//! | bytes may arrive in pieces of any size | `bytes_that_come_one_by_one_are_understood` |
//! | a client need not wait for replies | `bytes_that_come_all_at_once_are_understood` |
//! | a simple read is one reply of any length | `long_simple_read_is_one_whole_reply` |
//! | a simple read fails before its header or not at all | `simple_read_that_fails_says_so_before_any_data` |
//! | a payload of 32 MiB is answered | `chunks_cover_a_read_of_32_mib` |
//! | zeros are sent as holes, but only in chunks | `zeros_are_sent_as_holes` |
//! | DF: one chunk; 64 KiB and more work | `df_gives_one_chunk` |
//! | DF above 1 MiB is EOVERFLOW | `df_over_1_mib_is_overflow` |
//! | DF needs structured replies | `df_without_structured_replies_is_invalid` |
//! | a read past the end is EINVAL | `read_past_the_end_is_invalid` |
//! | offsets do not wrap | `offsets_that_overflow_are_invalid` |
//! | an empty read does not close | `read_of_nothing_is_no_reason_to_leave` |
//! | a read above the maximum payload is EINVAL | `read_over_32_mib_is_invalid` |
//! | WRITE is drained and EPERM | `write_is_drained_and_not_permitted` |
//! | WRITE with wrong flags is drained too | `write_with_wrong_flags_is_drained_as_well` |
//! | TRIM and WRITE_ZEROES are EPERM | `trim_and_write_zeroes_are_not_permitted` |
//! | unknown commands are EINVAL and have no payload | `unknown_commands_are_invalid` |
//! | PAYLOAD_LEN: the payload is drained for every command | `payload_that_a_flag_announces_is_drained` |
//! | FUA is accepted on every command | `fua_is_accepted_on_everything` |
//! | flags that were not negotiated are EINVAL | `flags_that_were_not_agreed_on_are_invalid` |
//! | FLUSH is answered | `flush_is_well` |
//! | CACHE makes later reads of its range immediate | `cache_makes_later_reads_held` |
//! | CACHE is advice: damage is not an error | `cache_of_what_is_damaged_is_no_error` |
//! | ERROR_OFFSET is the first bad byte | `damage_is_an_error_at_its_first_byte_and_neighbours_are_readable` |
//! | an error affects only its own request | `damage_does_not_touch_other_requests` |
//! | replies are sent in the order of completion | `slow_read_does_not_hold_back_a_later_one` |
//! | as many requests as helpers run in parallel | `slow_reads_do_not_hold_back_one_for_which_there_is_a_helper` |
//! | DISC waits for pending replies | `disconnect_comes_after_replies_that_are_under_way` |
//! | DISC has no reply | `disconnect_has_no_reply` |
//! | requests after DISC are ignored | `requests_behind_a_disconnect_are_not_answered` |
//! | each request has one reply | `thousands_of_requests_at_once_are_all_answered_once` |
//! | BLOCK_STATUS needs contexts | `status_without_contexts_is_invalid` |
//! | an empty BLOCK_STATUS is EINVAL | `status_of_nothing_is_invalid` |
//! | BLOCK_STATUS past the end is EINVAL | `status_past_the_end_is_invalid` |
//! | `base:allocation`: data 0, holes 3 | `allocation_tells_data_and_holes_exactly` |
//! | one chunk for each selected context | `status_is_one_chunk_for_each_context_chosen` |
//! | `x-melv:depth`: steps up the lineage | `depth_tells_steps_of_lineage` |
//! | REQ_ONE: one extent, within the request | `req_one_gives_one_extent_within_the_request` |
//! | extents are not empty and end with the request | `extents_never_reach_past_the_request` |
//! | extended headers: extents of 64 bits | `extent_of_more_than_4_gib_fits_extended_headers` |
//! | a truncated extent is the last | `extent_of_nearly_4_gib_is_cut_and_nothing_follows_it` |
//! | many extents: as many as fit, and the client asks for the rest | `status_of_many_extents_is_bounded_and_goes_on_where_it_ends` |
//! | TLS required: ERR_TLS_REQD before TLS | `tls_required_tells_nothing_in_plain` |
//! | TLS required: EXPORT_NAME closes | `tls_required_closes_at_export_name` |
//! | no TLS: STARTTLS is ERR_POLICY | `tls_off_refuses_starttls_and_goes_on` |
//! | STARTTLS discards everything negotiated | `starttls_drops_what_was_agreed_on_before` |
//! | STARTTLS is accepted once | `starttls_twice_is_invalid` |
//! | STARTTLS has no data | `starttls_with_data_is_invalid` |
//! | plaintext after STARTTLS is ignored | `plain_bytes_behind_starttls_are_not_interpreted` |
//! | the TLS handshake has a time limit too | `slow_drip_of_a_tls_handshake_ends_in_time` |
//! | clients are admitted by their certificate | `only_clients_with_the_right_certificate_are_let_in` |

pub mod channel;
pub mod context;
mod export;
pub mod handler;
pub mod listen;
pub mod negotiation;
mod polling;
pub mod reply;
pub mod request;
pub mod send_buffer;
mod send_queue;
pub mod server;
pub mod tls;
pub mod transmission;
pub mod wire;

pub use channel::Socket;
pub use negotiation::TlsPolicy;
pub use server::{Listener, Server, ServerOptions};
