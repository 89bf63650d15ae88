//! Messages of DHCP (RFC 2131 section 2, RFC 2132, RFC 3442).

use std::{net::Ipv4Addr, time::Duration};

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Bytes before the options, with the cookie.
const FIXED: usize = 240;
/// Least length that relays of BOOTP accept.
const LEAST: usize = 300;

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const NTP: u8 = 42;
const REQUESTED: u8 = 50;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const TYPE: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const MAX_SIZE: u8 = 57;
const T1: u8 = 58;
const T2: u8 = 59;
const CLIENT: u8 = 61;
const ROUTES: u8 = 121;

/// Kinds of messages that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Looks for servers.
    Discover = 1,
    /// Takes an offer, or renews a lease.
    Request = 3,
    /// Gives the address back.
    Release = 7,
}

/// A message that a client sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub kind: Kind,
    pub transaction: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    pub hardware: [u8; 6],
    pub host_name: &'a str,
    /// The address that the client has.
    pub own: Option<Ipv4Addr>,
    /// The address that the client asks for.
    pub requested: Option<Ipv4Addr>,
    /// The server that it takes the offer of.
    pub server: Option<Ipv4Addr>,
}

impl Query<'_> {
    /// Returns the bytes of the message.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        // A request over Ethernet with addresses of six bytes.
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.own.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        bytes[28..34].copy_from_slice(&self.hardware);
        bytes[236..240].copy_from_slice(&COOKIE);
        let mut option = |code: u8, value: &[u8]| {
            bytes.extend([code, value.len() as u8]);
            bytes.extend(value);
        };
        option(TYPE, &[self.kind as u8]);
        let [a, b, c, d, e, f] = self.hardware;
        option(CLIENT, &[1, a, b, c, d, e, f]);
        if let Some(address) = self.requested {
            option(REQUESTED, &address.octets());
        }
        if let Some(server) = self.server {
            option(SERVER, &server.octets());
        }
        if self.kind != Kind::Release {
            option(MAX_SIZE, &1500_u16.to_be_bytes());
            // Routes before the router: servers may answer in this order.
            option(PARAMETERS, &[MASK, ROUTES, ROUTER, DNS, DOMAIN, MTU, NTP, LEASE_TIME, T1, T2]);
            let name = &self.host_name.as_bytes()[..self.host_name.len().min(63)];
            if !name.is_empty() {
                option(HOST_NAME, name);
            }
        }
        bytes.push(0xff);
        bytes.resize(bytes.len().max(LEAST), 0);
        bytes
    }
}

/// A route of a lease. Without a gateway its destinations are stations of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Network.
    pub network: Ipv4Addr,
    /// Bits of the network.
    pub prefix: u8,
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
}

/// An address with all that came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Address of the machine.
    pub address: Ipv4Addr,
    /// Bits of its network.
    pub prefix: u8,
    /// Routes, at most 32.
    pub routes: Vec<Route>,
    /// Name servers, at most 3, since glibc reads no more.
    pub dns: Vec<Ipv4Addr>,
    /// Domain of names without a dot.
    pub domain: Option<String>,
    /// Greatest size of a packet in bytes.
    pub mtu: Option<u16>,
    /// Time servers, at most 4.
    pub ntp: Vec<Ipv4Addr>,
    /// The server.
    pub server: Ipv4Addr,
    /// Time until the lease is renewed.
    pub renew: Duration,
    /// Time until any server is asked.
    pub rebind: Duration,
    /// Time until the address must not be used.
    pub end: Duration,
}

/// An answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// An offer of an address by a server.
    Offer(Ipv4Addr, Ipv4Addr),
    /// A lease.
    Acknowledge(Lease),
    /// A refusal.
    Refuse,
}

/// Reads an answer to `transaction` of `hardware`. Everything that is not one is `None`.
pub(super) fn parse(message: &[u8], transaction: u32, hardware: [u8; 6]) -> Option<Answer> {
    let (fixed, options) = message.split_at_checked(FIXED)?;
    let ours = fixed[..3] == [2, 1, 6]
        && fixed[4..8] == transaction.to_be_bytes()
        && fixed[28..34] == hardware
        && fixed[236..240] == COOKIE;
    if !ours {
        return None;
    }
    let options = Options::read(fixed, options)?;
    let server = options.address(SERVER)?;
    match options.get(TYPE) {
        [2] => Some(Answer::Offer(usable(&fixed[16..20])?, server)),
        [5] => Some(Answer::Acknowledge(options.lease(usable(&fixed[16..20])?, server)?)),
        [6] => Some(Answer::Refuse),
        _ => None,
    }
}

/// Reads an address that a machine may have.
fn usable(bytes: &[u8]) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(*bytes.first_chunk::<4>()?);
    let [first, ..] = address.octets();
    (first != 0 && first != 127 && first < 224).then_some(address)
}

/// Options of a message by their code; equal codes are joined (RFC 3396).
struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    fn read(fixed: &[u8], options: &[u8]) -> Option<Self> {
        let mut all = Self(Vec::new());
        all.add(options)?;
        // The server's name and the file's name may hold options as well.
        let overload = all.get(OVERLOAD).first().copied().unwrap_or(0);
        if overload & 1 == 1 {
            all.add(&fixed[108..236])?;
        }
        if overload & 2 == 2 {
            all.add(&fixed[44..108])?;
        }
        Some(all)
    }

    fn add(&mut self, mut bytes: &[u8]) -> Option<()> {
        loop {
            match *bytes {
                // The end option is missing in what some servers send.
                [] | [0xff, ..] => return Some(()),
                [0, ref rest @ ..] => bytes = rest,
                [code, length, ref rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(length.into())?;
                    match self.0.iter_mut().find(|(known, _)| *known == code) {
                        Some((_, joined)) => joined.extend(value),
                        None => self.0.push((code, value.to_vec())),
                    }
                    bytes = rest;
                }
                [_] => return None,
            }
        }
    }

    fn get(&self, code: u8) -> &[u8] {
        self.0.iter().find(|(known, _)| *known == code).map_or(&[], |(_, value)| value)
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(*self.get(code).first_chunk::<4>()?))
    }

    fn addresses(&self, code: u8, most: usize) -> Vec<Ipv4Addr> {
        self.get(code).chunks_exact(4).filter_map(usable).take(most).collect()
    }

    fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(*self.get(code).first_chunk()?))
    }

    fn lease(&self, address: Ipv4Addr, server: Ipv4Addr) -> Option<Lease> {
        // The least time keeps a server from making the client a flood.
        let end = self.seconds(LEASE_TIME)?.max(60);
        let renew = self.seconds(T1).unwrap_or(end / 2).clamp(30, end / 8 * 7);
        let rebind = self.seconds(T2).unwrap_or(end / 8 * 7).clamp(renew, end);
        let mut lease = Lease {
            address,
            prefix: self.prefix(address)?,
            routes: routes(self.get(ROUTES)),
            dns: self.addresses(DNS, 3),
            domain: domain(self.get(DOMAIN)),
            mtu: self.get(MTU).first_chunk().map(|mtu| u16::from_be_bytes(*mtu)).filter(|mtu| *mtu >= 576),
            ntp: self.addresses(NTP, 4),
            server,
            renew: Duration::from_secs(renew.into()),
            rebind: Duration::from_secs(rebind.into()),
            end: Duration::from_secs(end.into()),
        };
        if lease.routes.is_empty()
            && let Some(gateway) = self.addresses(ROUTER, 1).first()
        {
            let default = Route { network: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(*gateway) };
            lease.routes.push(default);
        }
        Some(lease)
    }

    fn prefix(&self, address: Ipv4Addr) -> Option<u8> {
        let Some(mask) = self.address(MASK) else {
            // The classes of RFC 791, for servers that send no mask.
            return Some(match address.octets()[0] {
                0..128 => 8,
                128..192 => 16,
                _ => 24,
            });
        };
        let ones = mask.to_bits().leading_ones();
        (mask.to_bits().count_ones() == ones && ones > 0).then_some(ones as u8)
    }
}

/// Reads routes as RFC 3442 writes them: a prefix, as many octets as it needs, a gateway.
fn routes(mut bytes: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let [prefix @ 0..=32, rest @ ..] = bytes {
        let Some((network, rest)) = rest.split_at_checked(usize::from(*prefix).div_ceil(8)) else { break };
        let Some((gateway, rest)) = rest.split_first_chunk::<4>() else { break };
        let mut octets = [0; 4];
        octets[..network.len()].copy_from_slice(network);
        let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
        let network = Ipv4Addr::from_bits(u32::from_be_bytes(octets) & mask);
        let gateway = Ipv4Addr::from(*gateway);
        let gateway = (!gateway.is_unspecified()).then_some(gateway);
        routes.push(Route { network, prefix: *prefix, gateway });
        if routes.len() == 32 {
            break;
        }
        bytes = rest;
    }
    routes
}

/// Reads a domain. It goes into `resolv.conf`, so that only characters of host names are taken.
fn domain(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let good = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte));
    (good && (1..=253).contains(&bytes.len())).then(|| String::from_utf8_lossy(bytes).into_owned())
}
