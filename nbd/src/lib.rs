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
//! | [`channel`] | a connection as bytes both ways, in plain or with TLS |
//! | [`tls`] | certificates, and which clients are let in |
//! | [`server`] | connections from their first byte to their last |
//! | [`listen`] | sockets to listen on, and their URIs |
//!
//! [`answer`], [`transmission`] and what follows know sockets; nothing above them does.

pub mod answer;
pub mod channel;
pub mod context;
pub mod export;
pub mod listen;
pub mod negotiation;
pub mod output;
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
