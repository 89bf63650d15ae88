//! Tests of the handshake, one rule each; `melv_nbd`'s table of rules names them.

#![allow(clippy::big_endian_bytes, reason = "so is the protocol")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{Put, Take, command, export, info, option, reply};
use melv_testing::nbd::*;

fn usual_server() -> melv_nbd::Server {
    server(Shelf::usual())
}

#[test]
fn greeting_has_both_magics_and_both_flags() {
    assert_eq!(connect(&usual_server()).greeting(), 3);
}

#[test]
fn unknown_client_flags_close() {
    for flags in [4_u32, 1 << 31, u32::MAX] {
        let mut client = connect(&usual_server());
        client.greeting();
        client.send(&flags.to_be_bytes());
        client.is_closed();
    }
}

#[test]
fn export_name_pads_with_124_zeros_unless_agreed_otherwise() {
    for (flags, zeros) in [(1_u32, 124), (3, 0), (0, 124)] {
        let mut client = connect(&usual_server());
        client.greeting();
        client.send(&flags.to_be_bytes());
        client.send_option(option::EXPORT_NAME, b"plain");
        let said = client.take(10 + zeros);
        assert_eq!(Take(&said).u64(), Some(40 * MIB));
        assert!(said[10..].iter().all(|&byte| byte == 0));
        // The first reply follows directly.
        assert_eq!(client.read(4096, 512).bytes(), data(4096..4608));
    }
}

#[test]
fn export_name_that_is_unknown_closes() {
    let long = [b'n'; 4097];
    for name in [&b"nothing"[..], b"pla\0in", b"\xff", &long] {
        let mut client = greeted(&usual_server());
        client.send_option(option::EXPORT_NAME, name);
        client.is_closed();
    }
}

#[test]
fn abort_is_acknowledged_and_closes() {
    let mut client = greeted(&usual_server());
    assert_eq!(client.answer_to(option::ABORT, &[]), reply::ACK);
    client.is_closed();
}

#[test]
fn list_tells_names_and_descriptions() {
    let replies = greeted(&usual_server()).option(option::LIST, &[]);
    let (last, servers) = replies.split_last().unwrap();
    assert_eq!((last.kind, servers.len()), (reply::ACK, 7));
    assert!(servers.iter().all(|server| server.kind == reply::SERVER));
    assert_eq!(servers[0].body, [text(b"plain"), b"the disk plain".to_vec()].concat());
    assert_eq!(servers[6].body, [text("größe".as_bytes()), "the disk größe".as_bytes().to_vec()].concat());
}

#[test]
fn list_with_data_is_invalid() {
    assert_eq!(greeted(&usual_server()).answer_to(option::LIST, b"x"), reply::ERR_INVALID);
}

#[test]
fn unknown_options_are_unsupported_and_parsing_goes_on() {
    let mut client = greeted(&usual_server());
    // PEEK_EXPORT, unassigned numbers, and the ends of the range.
    for (number, len) in [(4, 0), (12, 5), (0, 65536), (77, 1000), (u32::MAX, 1)] {
        assert_eq!(client.answer_to(number, &vec![7; len]), reply::ERR_UNSUP, "{number}");
    }
    client.go("plain");
}

#[test]
fn option_of_4_gib_is_too_big_and_passed_over_in_constant_memory() {
    let mut client = greeted(&usual_server());
    client.send(&option_head(option::GO, u32::MAX));
    assert_eq!(client.option_reply(option::GO).kind, reply::ERR_TOO_BIG);
    let before = resident_bytes();
    let piece = vec![0; 1 << 20];
    (0..4095).for_each(|_| client.send(&piece));
    client.send(&piece[1..]);
    assert!(resident_bytes() < before + 16 * MIB, "{before} became {}", resident_bytes());
    client.go("plain");
}

#[test]
fn export_name_of_4_gib_closes_without_a_word() {
    let mut client = greeted(&usual_server());
    client.send(&option_head(option::EXPORT_NAME, u32::MAX));
    client.is_closed();
}

#[test]
fn names_with_nul_or_that_are_not_utf8_are_invalid() {
    let mut client = greeted(&usual_server());
    for name in [&b"pla\0in"[..], b"\0", b"\xff\xfe", b"gr\xf6\xdfe"] {
        for number in [option::INFO, option::GO] {
            assert_eq!(client.answer_to(number, &go_data(name, &[])), reply::ERR_INVALID);
        }
    }
    client.go("größe");
}

#[test]
fn names_of_4097_bytes_are_too_big() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    let (fits, long) = ("n".repeat(4096), "n".repeat(4097));
    assert_eq!(client.answer_to(option::GO, &go_data(long.as_bytes(), &[])), reply::ERR_TOO_BIG);
    assert_eq!(client.answer_to(option::GO, &go_data(fits.as_bytes(), &[])), reply::ERR_UNKNOWN);
    let number = option::SET_META_CONTEXT;
    assert_eq!(client.answer_to(number, &meta_data(&long, &["base:"])), reply::ERR_TOO_BIG);
    assert_eq!(client.answer_to(number, &meta_data(&fits, &["base:"])), reply::ERR_UNKNOWN);
}

#[test]
fn go_and_info_tell_only_what_was_asked_for() {
    let mut client = greeted(&usual_server());
    let all = [info::NAME, info::DESCRIPTION, info::BLOCK_SIZE, 77];
    let found = infos(&client.option(option::INFO, &go_data(b"plain", &[])));
    assert_eq!(found.keys().collect::<Vec<_>>(), [&info::EXPORT]);
    let found = infos(&client.option(option::INFO, &go_data(b"", &all)));
    assert_eq!(found.len(), 4);
    assert_eq!(found[&info::NAME], b"plain");
    assert_eq!(found[&info::DESCRIPTION], b"the disk plain");
    let mut sizes = Vec::new();
    [1, PREFERRED as u32, 32 << 20].iter().for_each(|size| sizes.put_u32(*size));
    assert_eq!(found[&info::BLOCK_SIZE], sizes);
    let found = infos(&client.option(option::GO, &go_data(b"plain", &[info::BLOCK_SIZE])));
    assert_eq!(found.len(), 2);
}

#[test]
fn export_flags_say_what_the_server_can() {
    let always = export::HAS_FLAGS | export::READ_ONLY | export::SEND_FLUSH | export::SEND_FUA;
    let flags = greeted(&usual_server()).go("plain").1;
    assert_eq!(flags, always | export::CAN_MULTI_CONN | export::SEND_CACHE);
}

#[test]
fn df_flag_only_with_structured_replies() {
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        let mut client = greeted(&usual_server());
        client.agree(mode);
        let (_, flags) = client.go("plain");
        assert_eq!(flags & export::SEND_DF != 0, mode > ReplyMode::Simple, "{mode:?}");
        let mut client = greeted(&usual_server());
        client.agree(mode);
        client.send_option(option::EXPORT_NAME, b"plain");
        let flags = Take(&client.take(10)[8..]).u16().unwrap();
        assert_eq!(flags & export::SEND_DF != 0, mode > ReplyMode::Simple, "{mode:?}");
    }
}

#[test]
fn go_of_an_unknown_name_is_refused_and_the_handshake_goes_on() {
    let mut client = greeted(&usual_server());
    for number in [option::GO, option::INFO] {
        assert_eq!(client.answer_to(number, &go_data(b"nothing", &[])), reply::ERR_UNKNOWN);
    }
    client.go("plain");
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn go_with_data_that_does_not_add_up_is_invalid() {
    let mut client = greeted(&usual_server());
    let whole = go_data(b"plain", &[info::NAME]);
    for len in 0..whole.len() {
        assert_eq!(client.answer_to(option::GO, &whole[..len]), reply::ERR_INVALID, "{len} bytes");
    }
    assert_eq!(client.answer_to(option::GO, &[whole, vec![0]].concat()), reply::ERR_INVALID);
}

#[test]
fn info_does_not_begin_transmission() {
    let mut client = greeted(&usual_server());
    client.option(option::INFO, &go_data(b"plain", &[]));
    assert_eq!(client.option(option::LIST, &[]).len(), 8);
}

#[test]
fn options_after_go_close() {
    let mut client = usual("plain", ReplyMode::Structured);
    client.send_option(option::LIST, &[]);
    client.is_closed();
}

#[test]
fn wrong_magic_of_an_option_closes() {
    let mut client = greeted(&usual_server());
    let mut bytes = option_head(option::LIST, 0);
    bytes[0] ^= 1;
    client.send(&bytes);
    client.is_closed();
}

#[test]
fn wrong_magic_of_a_request_closes() {
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        let mut client = usual("plain", mode);
        assert_eq!(client.read(0, 4096).bytes(), data(0..4096));
        let mut bad = client.request(command::READ, 0, 0, 4096);
        bad[3] ^= 0x80;
        client.send(&bad);
        client.is_closed();
    }
}

#[test]
fn header_of_another_mode_closes() {
    for (agreed, sent) in [
        (ReplyMode::Simple, ReplyMode::Extended),
        (ReplyMode::Structured, ReplyMode::Extended),
        (ReplyMode::Extended, ReplyMode::Structured),
    ] {
        let mut client = usual("plain", agreed);
        client.mode = sent;
        client.ask(command::READ, 0, 0, 512);
        client.is_closed();
    }
}

#[test]
fn structured_reply_twice_is_invalid() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    assert_eq!(client.answer_to(option::STRUCTURED_REPLY, &[]), reply::ERR_INVALID);
    // The earlier agreement remains valid.
    client.go("plain");
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn structured_reply_with_data_is_invalid_and_not_agreed_on() {
    let mut client = greeted(&usual_server());
    assert_eq!(client.answer_to(option::STRUCTURED_REPLY, b"x"), reply::ERR_INVALID);
    assert_eq!(client.answer_to(option::EXTENDED_HEADERS, b"x"), reply::ERR_INVALID);
    client.go("plain");
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn structured_reply_after_extended_headers_is_refused() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Extended);
    assert_eq!(client.answer_to(option::STRUCTURED_REPLY, &[]), reply::ERR_EXT_HEADER_REQD);
    assert_eq!(client.answer_to(option::EXTENDED_HEADERS, &[]), reply::ERR_INVALID);
    client.go("plain");
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn extended_headers_after_structured_replies_take_their_place() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    client.agree(ReplyMode::Extended);
    client.go("plain");
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn meta_contexts_before_structured_replies_are_invalid() {
    let mut client = greeted(&usual_server());
    for number in [option::SET_META_CONTEXT, option::LIST_META_CONTEXT] {
        assert_eq!(client.answer_to(number, &meta_data("plain", &["base:allocation"])), reply::ERR_INVALID);
    }
}

/// Returns the error of a block status.
fn status_errno(client: &mut Client) -> u32 {
    client.go("plain");
    client.call(command::BLOCK_STATUS, 0, 0, 4096).errno()
}

#[test]
fn set_meta_context_replaces_the_set_before_even_when_it_fails() {
    let fails: [&[u8]; 3] =
        [&meta_data("nothing", &["base:allocation"]), &meta_data("plain", &[]), b"no sense"];
    for data in fails {
        let mut client = greeted(&usual_server());
        client.agree(ReplyMode::Structured);
        client.choose("plain", &["base:allocation"]);
        client.option(option::SET_META_CONTEXT, data);
        assert_eq!(status_errno(&mut client), 22);
    }
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    client.choose("plain", &["base:allocation"]);
    client.choose("plain", &["x-melv:depth"]);
    client.go("plain");
    let found = client.call(command::BLOCK_STATUS, 0, 0, 4096).statuses();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&2]);
}

#[test]
fn contexts_are_for_the_export_that_they_were_chosen_for() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    client.choose("sparse", &["base:allocation"]);
    assert_eq!(status_errno(&mut client), 22);
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    client.choose("plain", &["base:allocation"]);
    assert_eq!(status_errno(&mut client), 0);
}

#[test]
fn namespace_alone_lists_but_does_not_choose() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    let chosen = client.option(option::SET_META_CONTEXT, &meta_data("plain", &["base:", "x-melv:"]));
    assert_eq!((chosen.len(), chosen[0].kind), (1, reply::ACK));
    let listed = client.option(option::LIST_META_CONTEXT, &meta_data("plain", &["base:"]));
    assert_eq!(contexts(&listed), [("base:allocation".into(), 0)]);
    assert_eq!(status_errno(&mut client), 22);
}

#[test]
fn unknown_namespaces_are_ignored() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    let queries = ["qemu:dirty-bitmap:x", "base:unknown", "", ":", "base", "x-melv:depth"];
    let chosen = client.option(option::SET_META_CONTEXT, &meta_data("plain", &queries));
    assert_eq!(contexts(&chosen), [("x-melv:depth".into(), 2)]);
    assert_eq!(chosen.last().unwrap().kind, reply::ACK);
}

#[test]
fn list_meta_context_gives_number_0_and_all_where_nothing_is_asked() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    let listed = client.option(option::LIST_META_CONTEXT, &meta_data("plain", &[]));
    assert_eq!(contexts(&listed), [("base:allocation".into(), 0), ("x-melv:depth".into(), 0)]);
    // A listing selects nothing.
    assert_eq!(status_errno(&mut client), 22);
}

#[test]
fn meta_contexts_of_an_unknown_export_are_unknown() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    for number in [option::SET_META_CONTEXT, option::LIST_META_CONTEXT] {
        assert_eq!(client.answer_to(number, &meta_data("nothing", &["base:"])), reply::ERR_UNKNOWN);
    }
}

#[test]
fn meta_contexts_whose_count_does_not_add_up_are_invalid() {
    let mut client = greeted(&usual_server());
    client.agree(ReplyMode::Structured);
    for count in [0, 2, u32::MAX] {
        let mut data = text(b"plain");
        data.put_u32(count);
        data.extend(text(b"base:allocation"));
        assert_eq!(client.answer_to(option::SET_META_CONTEXT, &data), reply::ERR_INVALID, "{count}");
    }
}

#[test]
fn bytes_that_come_one_by_one_are_understood() {
    let mut client = connect(&usual_server());
    client.greeting();
    let mut said = CLIENT_FLAGS.to_be_bytes().to_vec();
    for (number, data) in [(option::STRUCTURED_REPLY, vec![]), (option::GO, go_data(b"plain", &[]))] {
        said.extend(option_head(number, data.len() as u32));
        said.extend(data);
    }
    client.mode = ReplyMode::Structured;
    said.extend(client.request(command::READ, 0, 0, 512));
    said.iter().for_each(|byte| client.send(&[*byte]));
    assert_eq!(client.option_reply(option::STRUCTURED_REPLY).kind, reply::ACK);
    assert_eq!(client.option_replies(option::GO).last().unwrap().kind, reply::ACK);
    assert_eq!(client.answer().bytes(), data(0..512));
}

#[test]
fn bytes_that_come_all_at_once_are_understood() {
    let mut client = connect(&usual_server());
    let mut said = CLIENT_FLAGS.to_be_bytes().to_vec();
    said.extend(option_head(option::EXTENDED_HEADERS, 0));
    let go = go_data(b"plain", &[]);
    said.extend(option_head(option::GO, go.len() as u32));
    said.extend(go);
    client.mode = ReplyMode::Extended;
    said.extend(client.request(command::READ, 0, 0, 4096));
    said.extend(client.request(command::DISC, 0, 0, 0));
    client.send(&said);
    client.greeting();
    client.option_replies(option::EXTENDED_HEADERS);
    client.option_replies(option::GO);
    assert_eq!(client.answer().bytes(), data(0..4096));
    client.is_closed();
}
