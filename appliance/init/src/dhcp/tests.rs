//! Promises of the DHCP client. `packets.hex` holds the packets of a real exchange with the server of QEMU 10.0's
//! user network, each without its Ethernet header: discover, offer, request, acknowledge.

use std::{net::Ipv4Addr, time::Duration};

use super::{
    message::{Answer, Kind, Query, parse},
    *,
};
use crate::config::tests::Rng;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const TRANSACTION: u32 = 0x634b_0026;

fn packets() -> Vec<Vec<u8>> {
    let hex = |line: &str| {
        (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
    };
    include_str!("packets.hex").lines().map(hex).collect()
}

fn query(kind: Kind) -> Query<'static> {
    Query {
        kind,
        transaction: TRANSACTION,
        seconds: 0,
        hardware: MAC,
        host_name: "box",
        own: None,
        requested: None,
        server: None,
    }
}

const fn seconds(time: u64) -> Duration {
    Duration::from_secs(time)
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn requests_have_the_bytes_of_the_recorded_ones() {
    let packets = packets();
    assert_eq!(wrap(&query(Kind::Discover).bytes()), packets[0]);
    let (requested, server) = (Some(ip("10.0.2.15")), Some(ip("10.0.2.2")));
    assert_eq!(wrap(&Query { requested, server, ..query(Kind::Request) }.bytes()), packets[2]);
}

#[test]
fn recorded_answers_are_read() {
    let packets = packets();
    let answer = |packet| parse(unwrap(packet).unwrap(), TRANSACTION, MAC);
    assert_eq!(answer(&packets[1]), Some(Answer::Offer(ip("10.0.2.15"), ip("10.0.2.2"))));
    let lease = Lease {
        address: ip("10.0.2.15"),
        prefix: 24,
        routes: vec![Route { network: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(ip("10.0.2.2")) }],
        dns: vec![ip("10.0.2.3")],
        domain: None,
        mtu: None,
        ntp: Vec::new(),
        server: ip("10.0.2.2"),
        renew: seconds(43200),
        rebind: seconds(75600),
        end: seconds(86400),
    };
    assert_eq!(answer(&packets[3]), Some(Answer::Acknowledge(lease)));
    assert_eq!(parse(unwrap(&packets[3]).unwrap(), TRANSACTION + 1, MAC), None, "another transaction");
    assert_eq!(parse(unwrap(&packets[3]).unwrap(), TRANSACTION, [0; 6]), None, "another machine");
    assert_eq!(unwrap(&packets[0]), None, "a client's packet");
}

/// Makes a server's message with these options after its type and name.
fn message(transaction: u32, kind: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&transaction.to_be_bytes());
    bytes[16..20].copy_from_slice(&[192, 0, 2, 7]);
    bytes[28..34].copy_from_slice(&MAC);
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    for (code, value) in [(53, &[kind][..]), (54, &[192, 0, 2, 1])].iter().chain(options) {
        bytes.extend([*code, value.len() as u8]);
        bytes.extend(*value);
    }
    bytes.push(0xff);
    bytes
}

fn lease_of(options: &[(u8, &[u8])]) -> Option<Lease> {
    let all = [&[(51, &[0, 0, 14, 16][..])], options].concat();
    match parse(&message(1, 5, &all), 1, MAC)? {
        Answer::Acknowledge(lease) => Some(lease),
        _ => None,
    }
}

#[test]
fn routes_of_rfc_3442_stand_in_for_the_router() {
    let routes = [24, 10, 1, 2, 192, 0, 2, 9, 0, 192, 0, 2, 1, 32, 169, 254, 169, 254, 0, 0, 0, 0];
    let lease = lease_of(&[(3, &[192, 0, 2, 8]), (121, &routes), (1, &[255, 255, 255, 255])]).unwrap();
    let route = |network, prefix, gateway: Option<&str>| Route {
        network: ip(network),
        prefix,
        gateway: gateway.map(ip),
    };
    let expected = [
        route("10.1.2.0", 24, Some("192.0.2.9")),
        route("0.0.0.0", 0, Some("192.0.2.1")),
        route("169.254.169.254", 32, None),
    ];
    assert_eq!(lease.routes, expected);
    assert_eq!(lease.prefix, 32);
}

#[test]
fn long_options_come_in_parts_and_in_other_fields() {
    let lease =
        lease_of(&[(15, b"exam"), (15, b"ple.org\0"), (26, &[5, 120]), (42, &[192, 0, 2, 5])]).unwrap();
    assert_eq!((lease.domain.as_deref(), lease.mtu), (Some("example.org"), Some(1400)));
    assert_eq!(lease.ntp, [ip("192.0.2.5")]);
    let mut bytes = message(1, 5, &[(52, &[3]), (51, &[0, 0, 14, 16])]);
    bytes[108..115].copy_from_slice(&[6, 4, 192, 0, 2, 3, 255]);
    bytes[44..51].copy_from_slice(&[1, 4, 255, 255, 0, 0, 255]);
    let Some(Answer::Acknowledge(lease)) = parse(&bytes, 1, MAC) else { panic!("no lease") };
    assert_eq!((lease.dns, lease.prefix), (vec![ip("192.0.2.3")], 16));
}

#[test]
fn values_that_no_machine_can_have_are_refused() {
    assert_eq!(lease_of(&[(1, &[255, 0, 255, 0])]), None, "a mask with a hole");
    assert_eq!(lease_of(&[(1, &[0, 0, 0, 0])]), None);
    assert_eq!(lease_of(&[(15, b"evil\nnameserver")]).unwrap().domain, None);
    assert_eq!(lease_of(&[(26, &[0, 67])]).unwrap().mtu, None);
    let mut bytes = message(1, 5, &[(51, &[0, 0, 14, 16])]);
    for address in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
        bytes[16..20].copy_from_slice(&address);
        assert_eq!(parse(&bytes, 1, MAC), None, "{address:?}");
    }
    let times = |options| {
        let lease = lease_of(options).unwrap();
        assert!(lease.renew <= lease.rebind && lease.rebind <= lease.end && lease.renew >= seconds(30));
        lease.end
    };
    assert_eq!(times(&[(58, &[255; 4]), (59, &[0; 4])]), seconds(3600));
    let short = message(1, 5, &[(51, &[0, 0, 0, 1])]);
    assert!(matches!(parse(&short, 1, MAC), Some(Answer::Acknowledge(lease)) if lease.end == seconds(60)));
}

#[test]
fn hostile_bytes_are_read_without_a_fault() {
    let mut rng = Rng(17);
    let packets = packets();
    let mut read = 0;
    for round in 0..60_000 {
        let mut packet = packets[1 + 2 * (round % 2)].clone();
        for _ in 0..rng.below(12) {
            let at = rng.below(packet.len() as u64) as usize;
            packet[at] = rng.next() as u8;
        }
        packet.truncate(packet.len() - rng.below(2) as usize * rng.below(packet.len() as u64) as usize);
        let _ = unwrap(&packet);
        if let Some(message) = packet.get(28..) {
            read += usize::from(parse(message, TRANSACTION, MAC).is_some());
        }
        let noise: Vec<u8> = (0..rng.below(300)).map(|_| rng.next() as u8).collect();
        let _ = unwrap(&noise);
        let noise = [&message(1, 5, &[])[..240], &noise].concat();
        let _ = parse(&noise, 1, MAC);
    }
    assert!(read > 10_000, "{read}");
}

/// The transaction of a message that a client sent.
fn transaction(actions: &[Action]) -> u32 {
    match actions.last() {
        Some(Action::Broadcast(bytes) | Action::Unicast(_, bytes) | Action::BroadcastFromAddress(bytes)) => {
            u32::from_be_bytes(bytes[4..8].try_into().unwrap())
        }
        other => panic!("no message: {other:?}"),
    }
}

/// Plays a server until the client has a lease of an hour at `now`.
fn bound(now: Duration) -> Client {
    let mut client = Client::new(MAC, "box", 99);
    let id = transaction(&client.start(now));
    let request = client.message(now, &message(id, 2, &[]));
    assert!(matches!(&request[..], [Action::Broadcast(bytes)] if bytes[242] == 3));
    let actions = client.message(now, &message(id, 5, &[(51, &[0, 0, 14, 16])]));
    assert!(matches!(&actions[..], [Action::Configure(_)]), "{actions:?}");
    client
}

#[test]
fn a_lost_message_is_sent_again_after_twice_the_time() {
    let mut client = Client::new(MAC, "box", 3);
    let mut now = seconds(5);
    client.start(now);
    for wait in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0] {
        let next = client.deadline().unwrap();
        let found = (next - now).as_secs_f64();
        assert!((wait * 0.89..wait * 1.11).contains(&found), "{found} instead of {wait}");
        assert_eq!(client.time(next - Duration::from_millis(1)), []);
        now = next;
        assert!(matches!(&client.time(now)[..], [Action::Broadcast(_)]));
    }
}

#[test]
fn an_offer_that_is_never_confirmed_is_given_up() {
    let mut client = Client::new(MAC, "box", 3);
    let id = transaction(&client.start(seconds(0)));
    client.message(seconds(0), &message(id, 2, &[]));
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let now = client.deadline().unwrap();
        let actions = client.time(now);
        let Some(Action::Broadcast(bytes)) = actions.first() else { panic!("{actions:?}") };
        kinds.push(bytes[242]);
    }
    assert_eq!(kinds, [3, 3, 3, 1]);
}

#[test]
fn a_lease_is_renewed_with_its_server_and_later_with_any() {
    let start = seconds(100);
    let mut client = bound(start);
    assert_eq!(client.deadline(), Some(start + seconds(1800)));
    let actions = client.time(start + seconds(1800));
    assert!(matches!(&actions[..], [Action::Unicast(server, _)] if *server == ip("192.0.2.1")));
    let id = transaction(&actions);
    assert_eq!(
        client.message(start + seconds(1801), &message(id, 5, &[(51, &[0, 0, 14, 16])])),
        [],
        "nothing changed"
    );
    assert_eq!(client.deadline(), Some(start + seconds(3601)));

    let mut client = bound(start);
    let mut seen = Vec::new();
    let mut now = start;
    while client.lease().is_some() {
        now = client.deadline().unwrap();
        for action in client.time(now) {
            seen.push((now - start, action));
        }
        assert!(seen.len() < 100);
    }
    assert_eq!(now - start, seconds(3600));
    let any = seen.iter().position(|(_, action)| matches!(action, Action::BroadcastFromAddress(_))).unwrap();
    assert_eq!(seen[any].0, seconds(3150), "seven eighths");
    assert!(matches!(&seen[seen.len() - 2..], [(_, Action::Deconfigure), (_, Action::Broadcast(_))]));
}

#[test]
fn a_refusal_of_a_renewal_takes_the_address_away() {
    let start = seconds(0);
    let mut client = bound(start);
    let id = transaction(&client.time(seconds(1800)));
    let actions = client.message(seconds(1801), &message(id, 6, &[]));
    assert!(matches!(&actions[..], [Action::Deconfigure, Action::Broadcast(_)]));
}

#[test]
fn answers_that_were_not_asked_for_change_nothing() {
    let mut client = bound(seconds(0));
    for kind in 0..10 {
        for id in [0, 1, u32::MAX] {
            assert_eq!(client.message(seconds(1), &message(id, kind, &[(51, &[0, 0, 14, 16])])), []);
        }
    }
    assert!(client.lease().is_some());
    let release = client.release(seconds(2)).unwrap();
    assert!(
        matches!(release, Action::Unicast(server, bytes) if server == ip("192.0.2.1") && bytes[242] == 7)
    );
    assert_eq!(client.deadline(), None);
}

#[test]
fn any_order_of_messages_and_times_keeps_the_client_alive() {
    let mut rng = Rng(23);
    for _ in 0..2000 {
        let mut client = Client::new(MAC, "", rng.next());
        let mut now = seconds(0);
        let mut id = transaction(&client.start(now));
        for _ in 0..60 {
            now += Duration::from_millis(rng.below(2_000_000));
            let time = (rng.next() as u32).to_be_bytes();
            let options = [(51, &time[..])];
            let actions = match rng.below(3) {
                0 => client.time(now),
                _ => client.message(now, &message(id, rng.below(7) as u8, &options[..rng.below(2) as usize])),
            };
            if matches!(
                actions.last(),
                Some(Action::Broadcast(_) | Action::Unicast(..) | Action::BroadcastFromAddress(_))
            ) {
                id = transaction(&actions);
            }
            assert!(client.deadline().is_some(), "a client without a next act is dead");
        }
    }
}
