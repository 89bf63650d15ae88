//! A DHCPv4 client (RFC 2131, 2132, 3442) as a state machine: messages and time go in, actions come out.
//!
//! `message.rs` knows the messages, `packet.rs` the IPv4 and UDP headers that carry them before the machine has
//! an address, `client.rs` the states. Nothing here opens a socket or reads a clock, so that a test can play any
//! server, lose any packet and let years pass. Every byte that a server sent is hostile.

mod client;
mod message;
mod packet;

#[cfg(test)]
mod tests;

pub use self::{
    client::{Action, Client},
    message::{Lease, Route},
    packet::{unwrap, wrap},
};

/// Port of servers.
pub const SERVER_PORT: u16 = 67;
/// Port of clients.
pub const CLIENT_PORT: u16 = 68;
