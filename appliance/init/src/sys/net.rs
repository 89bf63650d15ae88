//! Sockets and interfaces.

use std::{
    ffi::CString,
    io,
    mem::size_of,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use super::{abi, c_string, check, length};

const AF_INET: u16 = 2;
const AF_PACKET: u16 = 17;
const SOCK_STREAM: i32 = 1;
const SOCK_DGRAM: i32 = 2;
/// `SOCK_NONBLOCK | SOCK_CLOEXEC`.
const FLAGS: i32 = 0o4000 | 0o200_0000;
const SOL_SOCKET: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_ERROR: i32 = 4;
const SO_BROADCAST: i32 = 6;
const SO_BINDTODEVICE: i32 = 25;
const ETH_P_IP: [u8; 2] = [0x08, 0x00];

fn open(domain: u16, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers alone.
    let fd = check(unsafe { abi::socket(domain.into(), kind | FLAGS, protocol) })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn inet(address: Ipv4Addr, port: u16) -> abi::SockaddrIn {
    abi::SockaddrIn { family: AF_INET, port: port.to_be_bytes(), address: address.octets(), zero: [0; 8] }
}

/// Returns the size of a socket address.
fn size<T>() -> u32 {
    size_of::<T>() as u32
}

fn bind<T>(socket: &OwnedFd, address: &T) -> io::Result<()> {
    // SAFETY: pointer and length are of one value, and each `T` used here is a socket address.
    check(unsafe { abi::bind(socket.as_raw_fd(), (&raw const *address).cast(), size::<T>()) }).map(drop)
}

/// Opens a socket for the IPv4 packets of one interface, without their Ethernet headers.
pub fn packet_socket(index: u32) -> io::Result<OwnedFd> {
    let socket = open(AF_PACKET, SOCK_DGRAM, u16::from_ne_bytes(ETH_P_IP).into())?;
    bind(&socket, &link_address(index))?;
    Ok(socket)
}

/// Names all stations of an interface.
fn link_address(index: u32) -> abi::SockaddrLl {
    abi::SockaddrLl {
        family: AF_PACKET,
        protocol: ETH_P_IP,
        index: index.cast_signed(),
        hardware: 0,
        packet_type: 0,
        address_length: 6,
        address: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    }
}

fn send<T>(socket: impl AsFd, bytes: &[u8], address: &T) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: pointers and lengths are of one slice and of one value, which is a socket address.
    length(unsafe {
        abi::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, (&raw const *address).cast(), size::<T>())
    })
    .map(drop)
}

/// Sends an IPv4 packet to all stations of an interface.
pub fn send_packet(socket: impl AsFd, index: u32, packet: &[u8]) -> io::Result<()> {
    send(socket, packet, &link_address(index))
}

/// A kind of UDP socket.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Port to listen at; 0 for any.
    pub port: u16,
    /// Interface that it is bound to.
    pub interface: Option<&'a str>,
    /// Whether it may send to all stations.
    pub broadcast: bool,
}

/// Opens a UDP socket.
pub fn udp_socket(kind: Datagram<'_>) -> io::Result<OwnedFd> {
    let socket = open(AF_INET, SOCK_DGRAM, 0)?;
    let option = |name, value: &[u8]| {
        let fd = socket.as_raw_fd();
        // SAFETY: pointer and length are of one slice.
        check(unsafe { abi::setsockopt(fd, SOL_SOCKET, name, value.as_ptr().cast(), value.len() as u32) })
    };
    option(SO_REUSEADDR, &1_i32.to_ne_bytes())?;
    if let Some(name) = kind.interface {
        option(SO_BINDTODEVICE, name.as_bytes())?;
    }
    if kind.broadcast {
        option(SO_BROADCAST, &1_i32.to_ne_bytes())?;
    }
    bind(&socket, &inet(Ipv4Addr::UNSPECIFIED, kind.port))?;
    Ok(socket)
}

/// Sends a datagram.
pub fn send_to(socket: impl AsFd, bytes: &[u8], address: Ipv4Addr, port: u16) -> io::Result<()> {
    send(socket, bytes, &inet(address, port))
}

/// Receives a packet or datagram, and the address of its sender if that is of IPv4. Nothing is left of a longer one.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<(Ipv4Addr, u16)>)> {
    let fd = socket.as_fd().as_raw_fd();
    // Larger than any address: `struct sockaddr_storage`.
    let mut address = [0_u8; 128];
    let mut address_length = address.len() as u32;
    // SAFETY: each pointer and length are of one slice; the address's length lives until the call returns.
    let count = length(unsafe {
        abi::recvfrom(
            fd,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            address.as_mut_ptr().cast(),
            &raw mut address_length,
        )
    })?;
    let sender = (address[..2] == AF_INET.to_ne_bytes()).then(|| {
        let ip = Ipv4Addr::new(address[4], address[5], address[6], address[7]);
        (ip, u16::from_be_bytes([address[2], address[3]]))
    });
    Ok((count.min(buffer.len()), sender))
}

/// Begins a connection to a port of 127.0.0.1. It is made, or failed, once the socket can be written.
pub fn connect_loopback(port: u16) -> io::Result<OwnedFd> {
    const EINPROGRESS: i32 = 115;
    let socket = open(AF_INET, SOCK_STREAM, 0)?;
    let address = inet(Ipv4Addr::LOCALHOST, port);
    let length = size::<abi::SockaddrIn>();
    // SAFETY: pointer and length are of one value.
    match check(unsafe { abi::connect(socket.as_raw_fd(), (&raw const address).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Returns the outcome of a connection that was begun.
pub fn connected(socket: impl AsFd) -> io::Result<()> {
    let mut error = 0_i32;
    let mut length = size::<i32>();
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointers are of a number and of its size, which live until the call returns.
    check(unsafe { abi::getsockopt(fd, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &raw mut length) })?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// A network interface.
#[derive(Debug)]
pub struct Interface {
    name: CString,
    socket: OwnedFd,
}

impl Interface {
    /// Opens the interface `name`.
    pub fn open(name: &str) -> io::Result<Self> {
        if name.len() > 15 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { name: c_string(name.as_bytes())?, socket: open(AF_INET, SOCK_DGRAM, 0)? })
    }

    fn request(&self, number: u64, data: &[u8]) -> io::Result<[u8; 24]> {
        let mut request = abi::InterfaceRequest { name: [0; 16], data: [0; 24] };
        let name = self.name.as_bytes();
        request.name[..name.len()].copy_from_slice(name);
        request.data[..data.len()].copy_from_slice(data);
        // SAFETY: each request used here reads and writes `struct ifreq` at the pointer.
        check(unsafe { abi::ioctl(self.socket.as_raw_fd(), number, &raw mut request) })?;
        Ok(request.data)
    }

    fn set_address(&self, number: u64, address: Ipv4Addr) -> io::Result<()> {
        let octets = address.octets();
        let mut data = [0; 16];
        data[..2].copy_from_slice(&AF_INET.to_ne_bytes());
        data[4..8].copy_from_slice(&octets);
        self.request(number, &data).map(drop)
    }

    /// Turns the interface on.
    pub fn up(&self) -> io::Result<()> {
        const SIOCGIFFLAGS: u64 = 0x8913;
        const SIOCSIFFLAGS: u64 = 0x8914;
        const IFF_UP: u16 = 1;
        let data = self.request(SIOCGIFFLAGS, &[])?;
        let flags = u16::from_ne_bytes([data[0], data[1]]) | IFF_UP;
        self.request(SIOCSIFFLAGS, &flags.to_ne_bytes()).map(drop)
    }

    /// Sets the address. `0.0.0.0` takes it away.
    pub fn address(&self, address: Ipv4Addr) -> io::Result<()> {
        const SIOCSIFADDR: u64 = 0x8916;
        self.set_address(SIOCSIFADDR, address)
    }

    /// Sets the mask of the network.
    pub fn mask(&self, mask: Ipv4Addr) -> io::Result<()> {
        const SIOCSIFNETMASK: u64 = 0x891c;
        self.set_address(SIOCSIFNETMASK, mask)
    }

    /// Sets the greatest size of a packet in bytes.
    pub fn mtu(&self, bytes: u16) -> io::Result<()> {
        const SIOCSIFMTU: u64 = 0x8922;
        self.request(SIOCSIFMTU, &i32::from(bytes).to_ne_bytes()).map(drop)
    }

    /// Adds a route through this interface. Without a gateway the destinations are stations of the link.
    pub fn route(&self, network: Ipv4Addr, mask: Ipv4Addr, gateway: Option<Ipv4Addr>) -> io::Result<()> {
        const SIOCADDRT: u64 = 0x890b;
        const RTF_UP: u16 = 1;
        const RTF_GATEWAY: u16 = 2;
        let entry = abi::RouteEntry {
            pad1: 0,
            destination: inet(network, 0),
            gateway: inet(gateway.unwrap_or(Ipv4Addr::UNSPECIFIED), 0),
            mask: inet(mask, 0),
            flags: RTF_UP | if gateway.is_some() { RTF_GATEWAY } else { 0 },
            pad2: 0,
            pad3: 0,
            pad4: std::ptr::null_mut(),
            metric: 0,
            device: self.name.as_ptr(),
            mtu: 0,
            window: 0,
            initial_rtt: 0,
        };
        // SAFETY: the request reads `struct rtentry` at the pointer, and the name in it, which ends with NUL.
        check(unsafe { abi::ioctl(self.socket.as_raw_fd(), SIOCADDRT, &raw const entry) }).map(drop)
    }
}
