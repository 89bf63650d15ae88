//! Output of services: lines with the service's name on the console, and a bounded log of each in `/run/log`.
//!
//! Nothing here waits: a console that takes no more bytes loses lines, which are counted and told, and a log
//! keeps its newest part. So a service that floods its output stops neither the init nor the machine.

mod console;
mod lines;
mod ring;

pub use self::{
    console::{Console, terminal},
    lines::{Lines, clean},
    ring::Ring,
};
