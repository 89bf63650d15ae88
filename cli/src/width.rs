//! The width of the terminal, and text that fits it.
//!
//! Output for people fits the terminal, or the width in `COLUMNS`. Piped output is complete, because a script
//! may need each value in full.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of a terminal that does not report one.
const UNKNOWN: usize = 80;
/// The minimum width. A smaller terminal is treated as this wide, since one-letter values tell nobody
/// anything.
const LEAST: usize = 20;
/// The width of an id in its usual form: `@` and twelve digits.
pub const ID_SHORT: usize = 13;
/// The replacement for omitted text.
const ELLIPSIS: char = '…';

/// Returns the width of standard output; `None` if its text need not fit any.
pub fn of_stdout() -> Option<usize> {
    of(&std::io::stdout())
}

/// Returns the width of standard error.
pub fn of_stderr() -> Option<usize> {
    of(&std::io::stderr())
}

/// Returns the narrower of the terminal and `COLUMNS`, which may come from another terminal.
fn of(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let columns = columns.filter(|columns| *columns > 0);
    let terminal = stream.is_terminal().then(|| {
        let width = tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
        width.filter(|width| *width > 0).or(columns).unwrap_or(UNKNOWN)
    });
    columns.into_iter().chain(terminal).min().map(|width| width.max(LEAST))
}

/// Returns the width of a text in terminal columns.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// Shortens a text to at most `width` columns. A long text loses its middle; an id loses its end, since its
/// first digits identify the image. An ellipsis marks the gap, except in an id of the usual length or less.
pub fn shorten(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.into();
    }
    if is_id(text) {
        return match width.checked_sub(1) {
            Some(room) if width > ID_SHORT => format!("{}{ELLIPSIS}", &text[..room]),
            _ => text[..width].into(),
        };
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let head = beginning(text, room - room / 2);
    let tail = ending(text, room - columns(head));
    format!("{head}{ELLIPSIS}{tail}")
}

/// Whether a text is an image id or the beginning of one, which stands for the image even if digits at its
/// end are missing.
pub fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix('@').unwrap_or(text);
    digits.len() >= 12 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn beginning(text: &str, width: usize) -> &str {
    &text[..prefix_len(text.char_indices().map(|(at, char)| (at + char.len_utf8(), char)), width, 0)]
}

fn ending(text: &str, width: usize) -> &str {
    &text[prefix_len(text.char_indices().rev(), width, text.len())..]
}

/// Returns the last position in `chars` up to which they take at most `width` columns, or `none`.
fn prefix_len(chars: impl Iterator<Item = (usize, char)>, width: usize, none: usize) -> usize {
    let mut taken = 0;
    let fits = chars.take_while(|(_, char)| {
        taken += char.width().unwrap_or(0);
        taken <= width
    });
    fits.last().map_or(none, |(at, _)| at)
}

/// Breaks a text at spaces into lines of at most `width` columns, and shortens longer words.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            *line = shorten(word, width);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(shorten(word, width));
        }
    }
    lines
}

/// Wraps the lines of a text that are wider than `width`, and repeats their indentation on the new lines.
/// `None` leaves the text as it is.
pub fn fit_lines(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.into() };
    let mut fitted = String::new();
    for line in text.lines() {
        if columns(line) <= width {
            fitted.push_str(line);
            fitted.push('\n');
            continue;
        }
        let rest = line.trim_start();
        let indent = (line.len() - rest.len()).min(width / 2);
        for part in wrap(rest, width - indent) {
            fitted.push_str(&format!("{:indent$}{part}\n", ""));
        }
    }
    fitted
}

/// Escapes control characters, which a file name may contain, to protect the terminal.
fn printable(text: &str) -> String {
    let escaped = |char: char| {
        if char.is_control() { char.escape_default().to_string() } else { char.to_string() }
    };
    text.chars().map(escaped).collect()
}

/// Formats labels and values as lines; a value that is too long continues below itself. An empty label marks
/// a further value of the label above.
pub fn facts(lines: &[(&str, String)], width: Option<usize>) -> String {
    const LABEL: usize = 8;
    let mut text = String::new();
    for (label, value) in lines {
        let value = &printable(value);
        let values = match width {
            Some(width) if LABEL + 2 + columns(value) > width => wrap(value, width - LABEL - 2),
            _ => vec![value.clone()],
        };
        for (value, label) in values.iter().zip(std::iter::once(*label).chain(std::iter::repeat(""))) {
            text.push_str(format!("{label:<LABEL$}  {value}").trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(shorten("web-server:latest", 20), "web-server:latest");
        assert_eq!(shorten("web-server:latest", 11), "web-s…atest");
        assert_eq!(shorten("磁盘磁盘磁盘", 7), "磁…磁盘");
        assert_eq!(shorten("web", 1), "…");
        assert_eq!(shorten("web", 0), "");
        for width in 0..30 {
            for text in ["web-server:latest", "磁盘-disk-磁盘-disk", "e\u{301}e\u{301}e\u{301}e\u{301}"] {
                assert!(columns(&shorten(text, width)) <= width, "{text} {width}");
            }
        }
    }

    #[test]
    fn an_id_loses_its_end() {
        assert_eq!(shorten(&"0123456789abcdef".repeat(4), 12), "0123456789ab");
        assert_eq!(shorten("@0123456789ab", 7), "@012345");
        assert_eq!(shorten(&"0123456789abcdef".repeat(4), 20), "0123456789abcdef012…");
    }

    #[test]
    fn words_are_wrapped_and_indented_as_their_line() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(fit_lines("  one two three\nx\n", Some(9)), "  one two\n  three\nx\n");
        assert_eq!(fit_lines("  one two three\n", None), "  one two three\n");
        let lines = [("names", "a:1 b:2 c:3".to_owned()), ("", "more".to_owned())];
        assert_eq!(facts(&lines, Some(18)), "names     a:1 b:2\n          c:3\n          more\n");
        assert_eq!(facts(&[("file", "a\n\u{1b}[1m".into())], None), "file      a\\n\\u{1b}[1m\n");
        assert_eq!(facts(&lines, None), "names     a:1 b:2 c:3\n          more\n");
    }
}
