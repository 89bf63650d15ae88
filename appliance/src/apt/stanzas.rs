//! Lists of packages: stanzas of fields, streamed. Pure.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

/// Longest stanza in bytes. The longest of Debian 13 has some 60,000.
const MAX_STANZA_BYTES: usize = 4 << 20;

/// A stanza: lines `Name: value` and their continuations, Debian Policy, section 5.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stanza<'a>(&'a [u8]);

impl<'a> Stanza<'a> {
    /// Returns the first line of a field's value, if it is there and is UTF-8.
    pub fn field(self, name: &str) -> Option<&'a str> {
        let mut lines = self.0.split(|&byte| byte == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
        std::str::from_utf8(value).ok().map(str::trim)
    }
}

/// Calls `each` with each stanza, until it breaks.
///
/// # Errors
///
/// Fails where `input` does, and at a stanza of more than [`MAX_STANZA_BYTES`].
pub(crate) fn each_stanza(
    mut input: impl BufRead,
    mut each: impl FnMut(Stanza<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut stanza = Vec::new();
    loop {
        let start = stanza.len();
        let room = (MAX_STANZA_BYTES - start.min(MAX_STANZA_BYTES)) as u64;
        let count = io::Read::take(&mut input, room).read_until(b'\n', &mut stanza)?;
        let ended = count == 0 && input.fill_buf()?.is_empty();
        if count == 0 && !ended {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a stanza of a list of packages is too long",
            ));
        }
        let blank = stanza[start..].iter().all(u8::is_ascii_whitespace);
        if blank {
            let text = &stanza[..start];
            if !text.is_empty() && each(Stanza(text)).is_break() {
                return Ok(());
            }
            stanza.clear();
        }
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        each_stanza(text, |stanza| {
            names.extend(stanza.field("Package").map(str::to_owned));
            ControlFlow::Continue(())
        })
        .unwrap();
        names
    }

    #[test]
    fn stanzas_end_at_blank_lines_and_at_the_end() {
        assert_eq!(names(b"\n\nPackage: a\nX: 1\n\n \nPackage: b\n\nPackage:c"), ["a", "b", "c"]);
        assert_eq!(names(b""), Vec::<String>::new());
        assert_eq!(names(b"Packages: a\nNo-Package: b\n"), Vec::<String>::new());
    }

    #[test]
    fn a_stanza_without_an_end_is_refused() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(each_stanza(endless, |_| ControlFlow::Continue(())).is_err());
        let lines = io::BufReader::new(io::Read::take(io::repeat(b'x'), 16 << 20));
        assert!(each_stanza(lines, |_| ControlFlow::Continue(())).is_err());
    }
}
