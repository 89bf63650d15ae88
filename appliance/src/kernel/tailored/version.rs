//! The version of a source, from its makefile, pure.

use std::fmt;

/// Version of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Reads the version at the start of Linux's `Makefile`.
pub(super) fn version(makefile: &str) -> Option<Version> {
    let number = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim().parse().ok();
        makefile.lines().take(20).find_map(value)
    };
    Some(Version { major: number("VERSION")?, minor: number("PATCHLEVEL")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_makefile_tells_the_version() {
        let text = "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\n";
        assert_eq!(version(text), Some(Version { major: 6, minor: 12 }));
        for text in [
            "",
            "VERSION = 6\n",
            "VERSION = six\nPATCHLEVEL = 1\n",
            "VERSION = 6\nPATCHLEVEL = 99999999999\n",
        ] {
            assert_eq!(version(text), None);
        }
    }
}
