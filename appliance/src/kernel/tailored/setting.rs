//! A line of a configuration: a symbol and its value, pure.

use std::fmt;

use thiserror::Error;

const PREFIX: &str = "CONFIG_";
/// Longest line in bytes.
const MAX_LINE: usize = 512;
/// Symbols whose texts may be paths. Other paths would bring files of this machine into the kernel.
const PATHS: [&str; 3] = ["CONFIG_CMDLINE", "CONFIG_DEFAULT_INIT", "CONFIG_UEVENT_HELPER_PATH"];

/// A symbol with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name with `CONFIG_`.
    pub(super) symbol: String,
    /// Value.
    pub(super) value: Value,
}

/// The value of a symbol. Modules are not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Built in.
    Yes,
    /// Left out, or unknown to this version of Linux.
    No,
    /// A number, decimal or as `0x`, as it is written.
    Number(String),
    /// A text, without its quotes.
    Text(String),
}

/// A text that is no setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found:?} is no line as `CONFIG_NUMA=y`, with y, n, a number or a text in quotes")]
pub struct SettingFault {
    /// The text, its first 80 letters at most.
    pub found: String,
}

impl Setting {
    /// Reads `CONFIG_X=y`.
    ///
    /// Texts have letters, digits, spaces and `_.,:=+@-`. Linux's makefiles read the configuration as their own
    /// language, so that a `$` would run a program.
    ///
    /// # Errors
    ///
    /// A text of another form, a text that could be a path, a line above 512 bytes.
    pub fn parse(line: &str) -> Result<Self, SettingFault> {
        let fault = || SettingFault { found: line.chars().take(80).collect() };
        let (symbol, value) = line.split_once('=').ok_or_else(fault)?;
        let name = symbol.strip_prefix(PREFIX).ok_or_else(fault)?;
        if line.len() > MAX_LINE || name.is_empty() || !name.bytes().all(is_symbol_byte) {
            return Err(fault());
        }
        let value = Value::parse(value, PATHS.contains(&symbol)).ok_or_else(fault)?;
        Ok(Self { symbol: symbol.to_owned(), value })
    }

    /// Returns the name of the symbol without `CONFIG_`, as Kconfig files have it.
    pub(super) fn name(&self) -> &str {
        self.symbol.strip_prefix(PREFIX).unwrap_or(&self.symbol)
    }

    /// Returns the line of a `.config`.
    pub(super) fn line(&self) -> String {
        match &self.value {
            Value::No => format!("# {} is not set", self.symbol),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = &self.symbol;
        match &self.value {
            Value::Yes => write!(formatter, "{symbol}=y"),
            Value::No => write!(formatter, "{symbol}=n"),
            Value::Number(number) => write!(formatter, "{symbol}={number}"),
            Value::Text(text) => write!(formatter, "{symbol}=\"{text}\""),
        }
    }
}

impl Value {
    fn parse(text: &str, may_be_path: bool) -> Option<Self> {
        let digits =
            |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let hexadecimal =
            |text: &str| (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text {
            "y" => return Some(Self::Yes),
            "n" => return Some(Self::No),
            _ => {}
        }
        if digits(text.strip_prefix('-').unwrap_or(text)) || text.strip_prefix("0x").is_some_and(hexadecimal)
        {
            return Some(Self::Number(text.to_owned()));
        }
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _.,:=+@-".contains(&byte);
        let good = inner.bytes().all(|byte| plain(byte) || (may_be_path && byte == b'/'));
        good.then(|| Self::Text(inner.to_owned()))
    }
}

/// Tells whether a byte may be part of a symbol's name.
pub(super) fn is_symbol_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_linux_reads_them() {
        for (line, written) in [
            ("CONFIG_NUMA=y", "CONFIG_NUMA=y"),
            ("CONFIG_9P_FS=n", "# CONFIG_9P_FS is not set"),
            ("CONFIG_HZ=-1000", "CONFIG_HZ=-1000"),
            ("CONFIG_START=0x1F00", "CONFIG_START=0x1F00"),
            ("CONFIG_CMDLINE=\"root=/dev/vda quiet\"", "CONFIG_CMDLINE=\"root=/dev/vda quiet\""),
        ] {
            let setting = Setting::parse(line).unwrap();
            assert_eq!((setting.line().as_str(), setting.to_string().as_str()), (written, line));
        }
    }

    #[test]
    fn modules_paths_and_words_of_make_are_refused() {
        for line in [
            "",
            "NUMA=y",
            "CONFIG_=y",
            "CONFIG_NUMA",
            "CONFIG_NUMA=m",
            "CONFIG_NUMA=y ",
            "CONFIG_NU MA=y",
            "CONFIG_A=y\nCONFIG_B=y",
            "CONFIG_A=0x",
            "CONFIG_A=1a",
            "CONFIG_A=\"",
            "CONFIG_LOCALVERSION=\"$(shell id)\"",
            "CONFIG_LOCALVERSION=\"`id`\"",
            "CONFIG_LOCALVERSION=\"a#b\"",
            "CONFIG_LOCALVERSION=\"a\"b\"",
            "CONFIG_LOCALVERSION=\"a\\\"b\"",
            "CONFIG_INITRAMFS_SOURCE=\"/etc\"",
            "CONFIG_SYSTEM_TRUSTED_KEYS=\"../key.pem\"",
        ] {
            assert!(Setting::parse(line).is_err(), "{line}");
        }
        assert!(Setting::parse(&format!("CONFIG_A=\"{}\"", "a".repeat(600))).is_err());
    }
}
