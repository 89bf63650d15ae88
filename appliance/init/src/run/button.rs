//! The power button, as the kernel's input devices tell it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::PathBuf,
    time::Duration,
};

const O_NONBLOCK: i32 = 0o4000;
/// `struct input_event` on LP64: two words of time, type, code, value.
const EVENT: usize = 24;
/// Times of the looks for devices after the first: a driver may be slow.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// Input devices that may have a power button.
#[derive(Debug)]
pub struct Buttons {
    devices: BTreeMap<PathBuf, File>,
    looks: Vec<Duration>,
}

impl Buttons {
    /// Opens all input devices.
    pub fn open(now: Duration) -> Self {
        let looks = LOOKS.iter().rev().map(|wait| now + *wait).collect();
        let mut buttons = Self { devices: BTreeMap::new(), looks };
        buttons.look();
        buttons
    }

    /// Returns the time of the next look for devices.
    pub fn deadline(&self) -> Option<Duration> {
        self.looks.last().copied()
    }

    /// Looks for new devices if it is time.
    pub fn step(&mut self, now: Duration) {
        if self.deadline().is_some_and(|time| time <= now) {
            self.looks.pop();
            self.look();
        }
    }

    /// Returns the devices to wait for.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.values().map(AsFd::as_fd)
    }

    /// Reads all devices. Returns whether a power button was pressed.
    pub fn read(&mut self) -> bool {
        let mut pressed = false;
        self.devices.retain(|_, device| {
            let mut events = [0; EVENT * 16];
            match device.read(&mut events) {
                Ok(0) => false,
                Ok(count) => {
                    pressed |= events[..count].chunks_exact(EVENT).any(is_power);
                    true
                }
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        pressed
    }

    fn look(&mut self) {
        let Ok(entries) = fs::read_dir("/dev/input") else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_event = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"event"));
            if is_event && !self.devices.contains_key(&path) {
                let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&path);
                self.devices.extend(file.ok().map(|file| (path, file)));
            }
        }
    }
}

/// Whether an event says that the key `KEY_POWER` went down.
fn is_power(event: &[u8]) -> bool {
    const EV_KEY: u16 = 1;
    const KEY_POWER: u16 = 116;
    let number = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    number(16) == EV_KEY && number(18) == KEY_POWER && event[20..24] == 1_i32.to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_power_key_going_down_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut event = [9; EVENT];
            event[16..18].copy_from_slice(&kind.to_ne_bytes());
            event[18..20].copy_from_slice(&code.to_ne_bytes());
            event[20..].copy_from_slice(&value.to_ne_bytes());
            event
        };
        assert!(is_power(&event(1, 116, 1)));
        for other in [event(1, 116, 0), event(1, 115, 1), event(0, 116, 1)] {
            assert!(!is_power(&other));
        }
    }
}
