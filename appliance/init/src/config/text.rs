//! Words to text and back.

use super::fault::Rule;

/// Longest text in bytes: a megabyte holds thousands of services.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Longest word in bytes, once decoded: the kernel's own limit of one argument (`MAX_ARG_STRLEN`).
pub(super) const MAX_WORD: usize = 128 * 1024 - 1;
/// Most words in a line.
pub(super) const MAX_WORDS: usize = 4096;

/// Appends `word` as the format writes it.
pub(super) fn encode(word: &str, text: &mut String) {
    if word.is_empty() {
        text.push('%');
    }
    for &byte in word.as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(hex_digit(byte >> 4));
            text.push(hex_digit(byte & 15));
        }
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'A' + (value - 10) })
}

/// Decodes one word.
pub(super) fn decode(word: &[u8]) -> Result<String, Rule> {
    if word == b"%" {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let byte = match (first, rest) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let byte = hex_value(*high)? << 4 | hex_value(*low)?;
                // One text for one word: only bytes that need it are escaped.
                if byte == 0 || byte.is_ascii_graphic() && byte != b'%' {
                    return Err(Rule::Word);
                }
                byte
            }
            (b'%', _) => return Err(Rule::Word),
            (byte, _) if byte.is_ascii_graphic() => byte,
            _ => return Err(Rule::Word),
        };
        bytes.push(byte);
    }
    if bytes.is_empty() || bytes.len() > MAX_WORD {
        return Err(Rule::Word);
    }
    String::from_utf8(bytes).map_err(|_| Rule::Word)
}

fn hex_value(digit: u8) -> Result<u8, Rule> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Rule::Word),
    }
}

/// A line of a text.
#[derive(Debug)]
pub(super) struct Line {
    /// Number, from 1.
    pub number: usize,
    /// Whether it belongs to a block.
    pub inner: bool,
    /// Key.
    pub key: String,
    /// Words after the key.
    pub words: Vec<String>,
}

/// Splits one line, without its line feed, into words.
pub(super) fn split(number: usize, line: &[u8]) -> Result<Line, Rule> {
    let (inner, line) = match line.strip_prefix(b" ") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let mut words = line.split(|byte| *byte == b' ');
    let key = decode(words.next().unwrap_or_default())?;
    let mut rest = Vec::new();
    for word in words {
        if rest.len() == MAX_WORDS {
            return Err(Rule::TooMany { thing: "words", limit: MAX_WORDS });
        }
        rest.push(decode(word)?);
    }
    Ok(Line { number, inner, key, words: rest })
}
