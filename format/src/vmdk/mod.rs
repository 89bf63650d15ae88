//! VMware's disk format, in and out.

mod fault;
pub mod header;

pub use fault::Fault;
