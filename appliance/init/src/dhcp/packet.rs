//! IPv4 and UDP headers around a message (RFC 791, 768).

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;

/// Makes a packet from `0.0.0.0` to all stations that carries `message`.
pub fn wrap(message: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(UDP_HEADER + message.len()).unwrap_or(u16::MAX);
    let length = udp_length.saturating_add(IP_HEADER as u16);
    let mut header = [0; IP_HEADER];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[8] = 64;
    header[9] = UDP;
    header[16..20].copy_from_slice(&Ipv4Addr::BROADCAST.octets());
    let check = checksum([&header[..]]);
    header[10..12].copy_from_slice(&check.to_be_bytes());

    let mut udp = [0; UDP_HEADER];
    udp[0..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&SERVER_PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
    let pseudo = [&header[12..20], &[0, UDP], &udp_length.to_be_bytes()].concat();
    // A sum of zero means "none", and is sent as its other form.
    let check = match checksum([&pseudo[..], &udp, message]) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&check.to_be_bytes());
    [&header[..], &udp, message].concat()
}

/// Returns the message that a packet carries from a server's port to a client's.
///
/// The sum of the UDP header is not checked: a packet from the same host carries none yet, since the network
/// card was to add it. The client compares the transaction instead.
pub fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let length = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
    if first >> 4 != 4 || header < IP_HEADER || length > packet.len() {
        return None;
    }
    let (header, body) = packet[..length].split_at_checked(header)?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[9] != UDP || fragment != 0 || checksum([header]) != 0 {
        return None;
    }
    let (udp, rest) = body.split_at_checked(UDP_HEADER)?;
    let ports = [SERVER_PORT.to_be_bytes(), CLIENT_PORT.to_be_bytes()].concat();
    let udp_length = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    if udp[..4] != ports {
        return None;
    }
    rest.get(..udp_length.checked_sub(UDP_HEADER)?)
}

/// Sums 16-bit words in one's complement. Every part but the last has an even length.
fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for word in part.chunks(2) {
            let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
            sum += u32::from(word);
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}
