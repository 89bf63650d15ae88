//! The order of setup commands and services, as a state machine: ends of processes, results of probes and time go
//! in, acts come out.
//!
//! The machine has four phases. It waits until the network is settled, runs the setup commands one after the
//! other, serves, and stops. A service starts once those that it depends on are ready, and is stopped once those
//! that depend on it have ended. Nothing here starts a process or reads a clock: a test plays days in microseconds.

mod machine;
mod unit;

#[cfg(test)]
mod tests;

pub use self::{
    machine::Supervisor,
    unit::{Act, Unit},
};
