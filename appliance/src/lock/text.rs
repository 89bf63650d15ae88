//! Texts that end up in addresses, on command lines or in file names, and are checked when they are made.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Longest text of each kind, in bytes. File names of the archive end at 255.
const MAX_BYTES: usize = 255;

/// Longest path and address, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// A text that has not the form of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct InvalidText {
    /// The form.
    pub expected: &'static str,
    /// The text, its first 120 letters at most.
    pub found: String,
}

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    return Ok(Self(text));
                }
                Err(InvalidText { expected: $expected, found: text.chars().take(120).collect() })
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                text.to_owned().try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

checked!(
    /// The name of a package: Debian Policy, section 5.6.1.
    PackageName,
    "a package's name (a to z, 0 to 9, '+', '-', '.')",
    |text| {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        in_bounds(text, MAX_BYTES)
            && text.len() > 1
            && text.bytes().next().is_some_and(letter)
            && text.bytes().all(|byte| letter(byte) || b"+-.".contains(&byte))
    }
);

checked!(
    /// A version: Debian Policy, section 5.6.12.
    Version,
    "a package's version (letters, 0 to 9, '.', '+', '-', '~', ':')",
    |text| {
        in_bounds(text, MAX_BYTES)
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte))
    }
);

checked!(
    /// The path of a file below the root of an archive.
    PoolPath,
    "a path in an archive (names with '/' between them, none of them '.' or '..')",
    |text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~:/@=,-".contains(&byte);
        in_bounds(text, MAX_PATH_BYTES)
            && text.bytes().all(plain)
            && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
    }
);

checked!(
    /// The name of an archive inside its lock.
    ArchiveName,
    "an archive's name (a to z, 0 to 9, '-')",
    |text| {
        in_bounds(text, 64)
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }
);

checked!(
    /// The name of a suite: `bookworm-updates`, `stable/updates`, or `./` of a repository without suites.
    SuiteName,
    "a suite's name",
    |text| in_bounds(text, MAX_BYTES) && text.bytes().all(is_word) && is_inside(text)
);

checked!(
    /// The name of a component: `main`, `non-free-firmware`.
    Component,
    "a component's name",
    |text| {
        in_bounds(text, MAX_BYTES)
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(is_word)
            && is_inside(text)
    }
);

checked!(
    /// The path of a file of the machine that builds, as the declaration writes it.
    LocalPath,
    "a path without control characters",
    |text| in_bounds(text, MAX_PATH_BYTES) && !text.chars().any(char::is_control)
);

checked!(
    /// The version of melv's recipe.
    Recipe,
    "a version (letters, 0 to 9, '.', '+', '-', '_')",
    |text| in_bounds(text, 64) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte))
);

checked!(
    /// The address of an archive: `http://` or `https://`, a host, a path without a slash at its end. It has no
    /// query, and no user or password, which a lock would publish.
    Uri,
    "an address http://HOST/PATH or https://HOST/PATH, without user, query and a slash at its end",
    is_uri
);

fn in_bounds(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+/~-".contains(&byte)
}

/// Whether a path stays below its root.
fn is_inside(text: &str) -> bool {
    !text.starts_with('/') && text.split('/').all(|part| part != "..")
}

fn is_uri(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~/@=,:%-".contains(&byte);
    in_bounds(text, MAX_PATH_BYTES)
        && !host.is_empty()
        && host.bytes().all(name)
        && path.bytes().all(plain)
        && !text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_apt_would_read_as_more_are_refused() {
        for bad in
            ["", "a", "-y", "nginx/bookworm", "nginx=1", "libc6:i386", "./x.deb", "Nginx", "a b", "n*", "^a"]
        {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
        for good in ["g++", "libstdc++6", "0ad", "python3.11", "libc6"] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn paths_that_leave_the_archive_are_refused() {
        for bad in
            ["", "/pool/a", "pool/../a", "pool//a", "./a", "pool/a?b", "pool/a b", "a/", "pool/%2e%2e/a", "é"]
        {
            assert!(bad.parse::<PoolPath>().is_err(), "{bad}");
        }
        assert!("pool/main/libs/libstdc++/x_1%2b".parse::<PoolPath>().is_err());
        assert!("pool/updates/main/n/nginx/nginx_1.22.1-9+deb12u1~x_amd64.deb".parse::<PoolPath>().is_ok());
    }

    #[test]
    fn addresses_with_a_password_or_another_scheme_are_refused() {
        let bad = [
            "",
            "http://",
            "ftp://h/x",
            "file:///x",
            "http://u:p@h/x",
            "http://h/x?y",
            "http://h/x#y",
            "http://h/",
            "http://h/a b",
            "HTTP://h",
            "http://h\n/x",
        ];
        for bad in bad {
            assert!(bad.parse::<Uri>().is_err(), "{bad}");
        }
        for good in
            ["http://deb.debian.org/debian", "https://h:8443", "http://[::1]:80/x", "http://127.0.0.1:1/d"]
        {
            assert!(good.parse::<Uri>().is_ok(), "{good}");
        }
    }

    #[test]
    fn suites_and_components_cannot_add_options_or_climb() {
        for bad in ["", "a b", "../x", "/etc", "[x=y]", "a\nb"] {
            assert!(bad.parse::<SuiteName>().is_err() && bad.parse::<Component>().is_err(), "{bad}");
        }
        assert!("./".parse::<SuiteName>().is_ok() && "stable/updates".parse::<SuiteName>().is_ok());
        assert!("-o".parse::<Component>().is_err());
    }
}
