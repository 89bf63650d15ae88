//! Messages of the DHCP client on an interface.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use super::link::Link;
use crate::{
    dhcp::{Action, CLIENT_PORT, Client, Lease, SERVER_PORT, unwrap, wrap},
    sys::{self, Datagram},
};

/// A socket that messages go through.
#[derive(Debug)]
enum Socket {
    /// Whole packets: the interface has no address.
    Packet(OwnedFd),
    /// UDP: the interface has the address of a lease.
    Udp(OwnedFd),
}

/// A DHCP client with its socket.
#[derive(Debug)]
pub struct DhcpLink {
    client: Client,
    socket: Option<Socket>,
}

/// A change of the interface that the client wants.
#[derive(Debug)]
pub enum Change {
    /// A lease to configure.
    Configure(Lease),
    /// The address must go.
    Clear,
}

impl DhcpLink {
    /// Makes a client that has not begun.
    pub fn new(link: &Link, host_name: &str, seed: u64) -> Self {
        Self { client: Client::new(link.hardware, host_name, seed), socket: None }
    }

    /// Begins to look for servers.
    pub fn start(&mut self, link: &Link, now: Duration) -> Vec<Change> {
        let actions = self.client.start(now);
        self.act(link, actions)
    }

    /// Returns the socket on which messages come.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|(Socket::Packet(socket) | Socket::Udp(socket))| socket.as_fd())
    }

    /// Returns the time of the next act.
    pub fn deadline(&self) -> Option<Duration> {
        self.client.deadline()
    }

    /// Does what is due.
    pub fn step(&mut self, link: &Link, now: Duration) -> Vec<Change> {
        let actions = self.client.time(now);
        self.act(link, actions)
    }

    /// Reads the messages that have come, a few at most, so that a flood does not keep the machine.
    pub fn read(&mut self, link: &Link, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut buffer = [0; 2048];
        for _ in 0..32 {
            let message = match &self.socket {
                Some(Socket::Packet(socket)) => {
                    let Ok((count, _)) = sys::receive(socket, &mut buffer) else { break };
                    unwrap(&buffer[..count])
                }
                Some(Socket::Udp(socket)) => {
                    let Ok((count, sender)) = sys::receive(socket, &mut buffer) else { break };
                    sender.is_some_and(|(_, port)| port == SERVER_PORT).then(|| &buffer[..count])
                }
                None => break,
            };
            let actions = message.map(|message| self.client.message(now, message)).unwrap_or_default();
            changes.extend(self.act(link, actions));
        }
        // Packets of all programs come to a packet socket: it is open only while it is needed.
        if self.client.lease().is_some() && matches!(self.socket, Some(Socket::Packet(_))) {
            self.socket = None;
        }
        changes
    }

    /// Gives the address back.
    pub fn release(&mut self, link: &Link, now: Duration) {
        let action = self.client.release(now);
        self.act(link, action.into_iter().collect());
    }

    fn act(&mut self, link: &Link, actions: Vec<Action>) -> Vec<Change> {
        let mut changes = Vec::new();
        for action in actions {
            // A message that is not sent is as one that is lost: the client sends again.
            let _ = match action {
                Action::Configure(lease) => {
                    changes.push(Change::Configure(lease));
                    Ok(())
                }
                Action::Deconfigure => {
                    changes.push(Change::Clear);
                    Ok(())
                }
                Action::Broadcast(message) => {
                    self.packet(link).and_then(|socket| sys::send_packet(socket, link.index, &wrap(&message)))
                }
                Action::Unicast(server, message) => {
                    self.udp(link).and_then(|socket| sys::send_to(socket, &message, server, SERVER_PORT))
                }
                Action::BroadcastFromAddress(message) => self.udp(link).and_then(|socket| {
                    sys::send_to(socket, &message, std::net::Ipv4Addr::BROADCAST, SERVER_PORT)
                }),
            };
        }
        changes
    }

    fn packet(&mut self, link: &Link) -> io::Result<BorrowedFd<'_>> {
        if !matches!(self.socket, Some(Socket::Packet(_))) {
            self.socket = Some(Socket::Packet(sys::packet_socket(link.index)?));
        }
        self.file().ok_or(io::ErrorKind::NotConnected.into())
    }

    fn udp(&mut self, link: &Link) -> io::Result<BorrowedFd<'_>> {
        if !matches!(self.socket, Some(Socket::Udp(_))) {
            let kind = Datagram { port: CLIENT_PORT, interface: Some(&link.name), broadcast: true };
            self.socket = Some(Socket::Udp(sys::udp_socket(kind)?));
        }
        self.file().ok_or(io::ErrorKind::NotConnected.into())
    }
}
