//! The client's input, and the checks of the server's output.

pub mod bench;
pub mod model;
pub mod replies;
pub mod script;
