//! The configuration of an appliance's init: one file in the image, written by the builder, read by PID 1.
//!
//! The file is lines of words. Its first line is `melv-init 1`, its last line is `end`, so that a file that was
//! cut is refused. A line begins with a key; a line that begins with one space belongs to the block that the last
//! line without it opened. One space separates two words. A word holds visible ASCII; each other byte, and `%`,
//! is `%` and two upper-case hex digits; the empty word is `%` alone. Words are UTF-8 once decoded, without NUL.
//!
//! | line | lines of its block |
//! |---|---|
//! | `hostname NAME` | |
//! | `network none`, `network dhcp`, `network static` | `address A.B.C.D/P`, `gateway A.B.C.D`, `dns ADDRESS...` |
//! | `time lease`, `time ADDRESS...` | |
//! | `writes memory`, `writes none`, `writes data NAME` | |
//! | `sysctl NAME VALUE` | |
//! | `data NAME` | `mount PATH`, `owner UID GID`, `mode OCTAL` |
//! | `directory PATH OCTAL UID GID` | |
//! | `secret NAME OCTAL UID GID given` or `... generated LENGTH [DATA]` | |
//! | `setup NAME` | lines of a process, `creates PATH` |
//! | `service NAME` | lines of a process, `depends NAME...`, `restart never`, `on-failure` or `always`, `stop SIGNAL MILLISECONDS`, `ready started`, `ready tcp PORT`, `ready http PORT PATH` or `ready exec WORD...`, `patience MILLISECONDS`, `console`, `exit` |
//!
//! Lines of a process: `command WORD...`, `user UID GID [GROUP...]`, `environment NAME VALUE`, `directory PATH`,
//! `capabilities all` or `capabilities NAME...`, `limit NAME SOFT HARD`, `new-privileges`.
//!
//! Defaults are left out by the writer, and keys come in the order of the table: one configuration has one text.
//! Reader and writer hold the same rules ([`Config::check`]), so that every text that was written can be read.
//!
//! This room knows nothing but `std`: the builder compiles the same files.

mod check;
mod fault;
mod names;
mod parse;
mod text;
mod value;
mod write;

#[cfg(test)]
pub(crate) mod tests;

#[allow(unused_imports, reason = "the builder and the init use different halves of this list")]
pub use self::{
    fault::{Fault, Rule},
    names::{ALL_CAPABILITIES, capability_number, limit_number},
    parse::parse,
    value::{
        Config, DataDisk, Directory, Limit, Network, Owner, Process, Ready, Restart, Secret, SecretSource,
        Service, Setup, StaticNetwork, Stop, Sysctl, TimeServers, Writes,
    },
    write::write,
};

/// Place of the file in the image.
pub const PATH: &str = "/etc/melv/init";
