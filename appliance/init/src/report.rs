//! Lines that the init writes for those who run the machine.
//!
//! Each is one line of the console that begins with `melv: ` and a word. No service can write such a line there:
//! each line of its output begins with its own name, and none may be named `melv`. The texts are a contract:
//! programs read them. A control port later carries the same values.
//!
//! | line | meaning |
//! |---|---|
//! | `melv: init 0.61s` | the root of the image is entered |
//! | `melv: network ADDRESS/PREFIX 0.70s` | the interface has an address |
//! | `melv: data NAME formatted`, `opened`, `grown` | a data disk is there |
//! | `melv: secret NAME VALUE` | a secret was made; told this once |
//! | `melv: ready NAME 1.92s` | a service does its job |
//! | `melv: up 1.92s` | all services do |
//! | `melv: ended NAME code 3`, `melv: ended NAME signal 9` | a service or setup command ended |
//! | `melv: late NAME` | a service was not ready in time |
//! | `melv: stop REASON` | the machine stops |
//! | `melv: failed THING PLACE: ERROR` | the machine cannot do its job, and stops |
//! | `melv: exit CODE` | the last line: 0 after a clean stop, 1 after a failure, or the code of a service |
//! | `melv: note TEXT` | for people |
//!
//! Times are seconds since the kernel began, cut to hundredths.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::sys::Status;

/// A line for those who run the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The root of the image is entered.
    Init(Duration),
    /// The interface has an address.
    Network(String, Duration),
    /// A data disk is there.
    Data(String, &'static str),
    /// A secret was made.
    Secret(String, String),
    /// A service does its job.
    Ready(String, Duration),
    /// All services do.
    Up(Duration),
    /// A process ended.
    Ended(String, Status),
    /// A service was not ready in time.
    Late(String),
    /// The machine stops.
    Stop(&'static str),
    /// The machine cannot do its job.
    Failed(String),
    /// The last line.
    Exit(u8),
    /// A line for people.
    Note(String),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("melv: ")?;
        match self {
            Self::Init(time) => write!(f, "init {}", Seconds(*time)),
            Self::Network(address, time) => write!(f, "network {address} {}", Seconds(*time)),
            Self::Data(name, state) => write!(f, "data {name} {state}"),
            Self::Secret(name, value) => write!(f, "secret {name} {value}"),
            Self::Ready(name, time) => write!(f, "ready {name} {}", Seconds(*time)),
            Self::Up(time) => write!(f, "up {}", Seconds(*time)),
            Self::Ended(name, Status::Code(code)) => write!(f, "ended {name} code {code}"),
            Self::Ended(name, Status::Signal(signal)) => write!(f, "ended {name} signal {signal}"),
            Self::Late(name) => write!(f, "late {name}"),
            Self::Stop(reason) => write!(f, "stop {reason}"),
            Self::Failed(text) => write!(f, "failed {}", OneLine(text)),
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Note(text) => write!(f, "note {}", OneLine(text)),
        }
    }
}

/// A time in seconds with two digits, cut and not rounded.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}s", self.0.as_secs(), self.0.subsec_millis() / 10)
    }
}

/// A text without control characters, since one report is one line.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split(char::is_control).enumerate().try_for_each(|(index, part)| {
            f.write_str(if index > 0 { " " } else { "" })?;
            f.write_str(part)
        })
    }
}

/// A failure of the system that ends the start of the machine.
#[derive(Debug)]
pub struct Problem {
    thing: &'static str,
    place: PathBuf,
    error: io::Error,
}

impl Problem {
    /// Names the thing that failed, the place, and the system's error.
    pub fn new(thing: &'static str, place: impl AsRef<Path>, error: io::Error) -> Self {
        Self { thing, place: place.as_ref().to_path_buf(), error }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.thing, self.place.display(), self.error)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_ones_that_programs_read() {
        let time = Duration::from_millis(1929);
        for (report, line) in [
            (Report::Ready("nginx".into(), time), "melv: ready nginx 1.92s"),
            (Report::Up(Duration::from_millis(60_005)), "melv: up 60.00s"),
            (Report::Exit(3), "melv: exit 3"),
            (Report::Ended("db".into(), Status::Signal(9)), "melv: ended db signal 9"),
            (Report::Data("db".into(), "formatted"), "melv: data db formatted"),
            (Report::Network("10.0.2.15/24".into(), time), "melv: network 10.0.2.15/24 1.92s"),
            (Report::Stop("power button"), "melv: stop power button"),
        ] {
            assert_eq!(report.to_string(), line);
        }
    }

    #[test]
    fn a_report_is_one_line() {
        assert_eq!(Report::Note("a\nmelv: exit 0".into()).to_string(), "melv: note a melv: exit 0");
    }
}
