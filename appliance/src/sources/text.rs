//! Bytes of archives in messages.

/// Bytes that a message shows of a path.
const SHOWN_BYTES: usize = 200;

/// Returns bytes as text that is safe for a terminal: what is not printable ASCII or a letter is escaped, and a long
/// one is cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    let mut shown = String::new();
    for letter in text.chars() {
        if letter.is_control() || letter == '\u{fffd}' || letter == '\\' {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    if bytes.len() > SHOWN_BYTES {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_message_holds_no_control_letters_and_no_endless_path() {
        assert_eq!(shown("größe\x1b[2J\n".as_bytes()), "größe\\u{1b}[2J\\n");
        assert!(shown(&[b'a'; 5000]).len() < 300);
    }
}
