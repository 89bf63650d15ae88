//! Identifies the owner of a stage if its lock alone is not conclusive.
//!
//! On some shared file systems, the locks of one machine do not exclude others. So a writer records in
//! the lock of its stage its machine and that machine's boot. A lock that is free here then means a dead
//! writer only if it ran under this kernel, or on this machine before a reboot. A writer on another
//! machine may still be at work.

use super::errors::StoreErrors;
use super::objects::read_object;
use super::open::StoreInner;
use crate::digest::{Digest, object_digest};
use crate::error::Result;
use crate::storage::{Machine, ObjectName};

const HEAD: &str = "melv writer";
const MARK_LEN_MAX: u64 = 4096;

/// A machine as recorded in a mark: by digests, to keep its ids private.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer {
    machine: Digest,
    boot: Digest,
}

impl Writer {
    fn on(machine: &Machine) -> Self {
        let digest = |what: &str, id: &str| object_digest(format!("melv {what} {id}").as_bytes());
        Self { machine: digest("machine", &machine.id), boot: digest("boot", &machine.boot) }
    }

    fn encode(&self) -> Vec<u8> {
        format!("{HEAD}\nmachine {}\nboot {}\n", self.machine, self.boot).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next() != Some(HEAD) {
            return None;
        }
        let mut digest = |word| lines.next()?.strip_prefix(word)?.parse().ok();
        Some(Self { machine: digest("machine ")?, boot: digest("boot ")? })
    }

    /// Whether a free lock seen from `here` proves nothing about this writer.
    fn is_elsewhere(&self, here: &Self) -> bool {
        self.machine != here.machine && self.boot != here.boot
    }
}

/// Returns the mark of a writer in this process; empty if its machine is unknown.
pub(super) fn mark(shared: &StoreInner) -> Vec<u8> {
    shared.storage.machine().map_or_else(Vec::new, |machine| Writer::on(&machine).encode())
}

/// Whether the lock of a stage was taken on another machine.
pub(super) fn is_elsewhere(shared: &StoreInner, lock: &ObjectName) -> Result<bool> {
    let Some(here) = shared.storage.machine() else { return Ok(false) };
    match read_object(shared.storage.as_ref(), lock, MARK_LEN_MAX) {
        Ok(bytes) => Ok(Writer::decode(&bytes).is_some_and(|writer| writer.is_elsewhere(&Writer::on(&here)))),
        Err(error) if error.is_not_found() || error.fault().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(id: &str, boot: &str) -> Writer {
        Writer::on(&Machine { id: id.into(), boot: boot.into() })
    }

    #[test]
    fn a_writer_is_elsewhere_if_neither_its_machine_nor_its_kernel_is_ours() {
        let here = writer("a", "1");
        assert!(!writer("a", "1").is_elsewhere(&here));
        assert!(!writer("a", "2").is_elsewhere(&here), "this machine before it was started anew");
        assert!(!writer("b", "1").is_elsewhere(&here), "another container of the same kernel");
        assert!(writer("b", "2").is_elsewhere(&here));
    }

    #[test]
    fn a_mark_is_read_as_written_or_not_at_all() {
        let bytes = writer("a", "1").encode();
        assert_eq!(Writer::decode(&bytes), Some(writer("a", "1")));
        (0..bytes.len() - 1).for_each(|len| assert_eq!(Writer::decode(&bytes[..len]), None, "{len} bytes"));
        assert_eq!(Writer::decode(b""), None);
        assert_eq!(Writer::decode(&[0xff; 64]), None);
    }
}
