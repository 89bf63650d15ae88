//! Keys as text, to stand inside the list of sources.

/// The line that armoured keys begin with: RFC 9580, section 6.2.1.
const HEAD: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const TAIL: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The digits of base64: RFC 4648, section 4.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in a line of armour: 64 digits.
const LINE_BYTES: usize = 48;

/// Returns keys as the lines of one block of armour. Armoured keys are returned as they are, without other text.
///
/// The checksum is left out: RFC 9580, section 6.1, asks for that, and apt cuts it off.
pub(super) fn armour(keys: &[u8]) -> Option<Vec<String>> {
    if let Some(text) = std::str::from_utf8(keys).ok().filter(|text| text.contains(HEAD)) {
        return armoured(text);
    }
    // The first byte of a packet of OpenPGP has its highest bit set.
    if keys.first().is_none_or(|byte| byte & 0x80 == 0) {
        return None;
    }
    let body = keys.chunks(LINE_BYTES).map(encode);
    Some([HEAD.to_owned(), String::new()].into_iter().chain(body).chain([TAIL.to_owned()]).collect())
}

fn armoured(text: &str) -> Option<Vec<String>> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let start = lines.iter().position(|line| *line == HEAD)?;
    let length = lines[start..].iter().position(|line| *line == TAIL)?;
    let block = &lines[start..=start + length];
    let plain =
        |line: &&str| line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !line.starts_with(' ');
    block.iter().all(plain).then(|| block.iter().map(ToString::to_string).collect())
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let value = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sign = DIGITS[(value >> (18 - 6 * digit) & 63) as usize];
            text.push(if digit > group.len() { '=' } else { char::from(sign) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_one_of_its_standard() {
        let texts = [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in texts {
            assert_eq!(encode(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn armour_is_kept_and_other_text_is_refused() {
        let block = format!("noise\n{HEAD}\n\nAAAA\n=abcd\n{TAIL}\nnoise\n");
        assert_eq!(armour(block.as_bytes()).unwrap(), [HEAD, "", "AAAA", "=abcd", TAIL]);
        assert_eq!(armour(b"\x99\x01\x02").unwrap(), [HEAD, "", "mQEC", TAIL]);
        assert_eq!(armour(b"hello"), None);
        assert_eq!(armour(b""), None);
        assert_eq!(armour(HEAD.as_bytes()), None);
    }
}
