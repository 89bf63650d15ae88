//! The network: the loopback, and the first Ethernet interface with an address by DHCP or a fixed one; the clock
//! by SNTP.
//!
//! `link.rs` finds and configures the interface, `dhcp_link.rs` carries the messages of the client in
//! [`crate::dhcp`], `resolver.rs` writes `/run/resolv.conf`, `sntp.rs` knows the messages of time servers, and
//! `state.rs` is the whole as the loop of the machine sees it: files to wait for, a deadline, and steps.

mod dhcp_link;
mod link;
mod resolver;
mod sntp;
mod state;
mod time;

pub use self::state::{Network, NetworkFile};
