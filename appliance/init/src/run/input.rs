//! Output of processes, as it comes in.

use std::{
    collections::BTreeMap,
    io::{PipeReader, Read},
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use crate::output::{Console, Lines, Ring};

/// Bytes that are read at once: other files have their turn after it.
const PIECE: usize = 16 * 1024;

/// The output of one process.
#[derive(Debug)]
struct Input {
    name: String,
    pipe: PipeReader,
    lines: Lines,
}

/// Output of all processes, and their logs.
#[derive(Debug, Default)]
pub struct Inputs {
    inputs: BTreeMap<u64, Input>,
    rings: BTreeMap<String, Ring>,
    next: u64,
}

impl Inputs {
    /// Adds the output of a process named `name`.
    pub fn add(&mut self, name: &str, pipe: PipeReader) {
        if !self.rings.contains_key(name) {
            // Without a log the console still has the lines.
            let ring = Ring::create(Path::new("/run/log").join(name));
            self.rings.extend(ring.ok().map(|ring| (name.to_owned(), ring)));
        }
        self.inputs.insert(self.next, Input { name: name.into(), pipe, lines: Lines::default() });
        self.next += 1;
    }

    /// Returns the pipes to wait for.
    pub fn files(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.inputs.iter().map(|(token, input)| (*token, input.pipe.as_fd()))
    }

    /// Reads a pipe that has something.
    pub fn read(&mut self, token: u64, console: &mut Console) {
        let Some(input) = self.inputs.get_mut(&token) else { return };
        // One write a piece and not a line: a flood costs the machine as little as it can.
        let mut log = Vec::new();
        let name = &input.name;
        let mut take = |line: &[u8]| {
            log.extend(line);
            log.push(b'\n');
            console.line(name, line);
        };
        let mut piece = [0; PIECE];
        let count = input.pipe.read(&mut piece).unwrap_or(0);
        if count > 0 {
            input.lines.push(&piece[..count], &mut take);
        } else {
            input.lines.finish(&mut take);
        }
        if let Some(ring) = self.rings.get_mut(name) {
            // A full memory must not stop the machine for a log.
            let _ = ring.append(&log);
        }
        if count == 0 {
            self.inputs.remove(&token);
        }
    }
}
