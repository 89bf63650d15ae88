//! The machine while it runs: one thread, one loop.
//!
//! `machine.rs` waits for files and deadlines and gives events to the [`crate::supervisor`]; it does the acts that
//! come back. `launch.rs` starts processes, `probe.rs` tries whether services are ready, `button.rs` reads the
//! power button, `input.rs` the output of processes. A control port becomes one more file of the loop: it brings
//! the same events (stop, secrets) and takes the same [`crate::report::Report`]s.

mod button;
mod group;
mod input;
mod launch;
mod machine;
mod probe;

pub use self::machine::{Machine, off};
