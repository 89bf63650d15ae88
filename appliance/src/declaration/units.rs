//! Sizes, times, ports and modes, as texts.

use std::{fmt, time::Duration};

use super::fault::{Rule, quoted};

/// A size in bytes, never 0. Its text is a number and `K`, `M`, `G` or `T`: powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// 2^20 bytes.
pub(super) const MIB: u64 = 1 << 20;

impl Size {
    /// Takes `mebibytes`, below 2^44.
    pub(super) const fn from_mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes * MIB)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        let fault = || Rule::Value {
            expected: "a size above 0 as \"64M\" or \"8G\" (K, M, G, T)",
            found: quoted(text),
        };
        let shift = match text.bytes().last() {
            Some(b'K') => 10,
            Some(b'M') => 20,
            Some(b'G') => 30,
            Some(b'T') => 40,
            _ => return Err(fault()),
        };
        let number = decimal(&text[..text.len() - 1]).ok_or_else(fault)?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(fault)?;
        Ok(Self(bytes))
    }
}

/// Reads digits alone: no sign, no spaces, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (text == "0" || !text.starts_with('0')) { text.parse().ok() } else { None }
}

/// Reads a time above 0 and up to 24 days: a number and `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Duration, Rule> {
    let fault = || Rule::Value {
        expected: "a time above 0 as \"500ms\", \"60s\", \"5m\" or \"1h\"",
        found: quoted(text),
    };
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let factor = match &text[end..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(fault()),
    };
    let milliseconds =
        decimal(&text[..end]).and_then(|number| number.checked_mul(factor)).ok_or_else(fault)?;
    // init counts milliseconds in 32 bits, and the kernel's timers in signed ones.
    if milliseconds == 0 || milliseconds > i32::MAX as u64 {
        return Err(fault());
    }
    Ok(Duration::from_millis(milliseconds))
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that the appliance listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Number, from 1.
    pub number: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

impl Port {
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        let fault = || Rule::Value { expected: "a port as \"80/tcp\" or \"53/udp\"", found: quoted(text) };
        let (number, protocol) = text.split_once('/').ok_or_else(fault)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(fault()),
        };
        Ok(Self { number: port_number(number).ok_or_else(fault)?, protocol })
    }
}

/// Reads the number of a port, 1 to 65535.
pub(super) fn port_number(text: &str) -> Option<u16> {
    decimal(text).and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

/// Permission bits with setuid, setgid and sticky: at most `0o7777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u16);

impl Mode {
    /// Takes bits, at most `0o7777`.
    pub(super) const fn new(bits: u16) -> Self {
        Self(bits & 0o7777)
    }

    /// Returns the bits.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }

    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        let good = (3..=5).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = if good { u16::from_str_radix(text, 8).ok() } else { None };
        bits.filter(|bits| *bits <= 0o7777).map(Self).ok_or_else(|| Rule::Value {
            expected: "a mode in octal as \"0755\", at most \"7777\"",
            found: quoted(text),
        })
    }
}
