//! The addresses that `apt-get install --print-uris` prints. Pure.

use super::error::AptError;
use crate::sha256::Sha256;

/// The name of the output in errors.
const PLACE: &str = "apt-get install --print-uris";

/// A file that would be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrintedUri {
    /// Address, decoded.
    pub uri: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest.
    pub sha256: Sha256,
}

/// Reads all lines that begin with a quote: `'URI' NAME SIZE SHA256:HEX`. Other lines are for people.
pub(crate) fn parse(output: &str) -> Result<Vec<PrintedUri>, AptError> {
    output.lines().filter(|line| line.starts_with('\'')).map(line).collect()
}

fn line(line: &str) -> Result<PrintedUri, AptError> {
    let fault = || AptError::form(PLACE, line, "'URI' NAME SIZE SHA256:HEX");
    let (uri, rest) = line.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).ok_or_else(fault)?;
    let mut words = rest.split_ascii_whitespace();
    let (Some(_name), Some(size), Some(hash), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(fault());
    };
    let sha256 = hash.strip_prefix("SHA256:").and_then(|hex| hex.parse().ok()).ok_or_else(fault)?;
    let size = size.parse().map_err(|_| fault())?;
    Ok(PrintedUri { uri: decode(uri).ok_or_else(fault)?, size, sha256 })
}

/// Decodes `%2b` and the like: RFC 3986, section 2.1.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = tail.get(..2)?;
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        bytes.push(value(digits[0])? << 4 | value(digits[1])?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_apt_is_read() {
        let hex = "ba4f88f73dbc3ae9055f3c20f4523bfdbaf1ad13ff95e258924f77d20b4fbedf";
        let text =
            format!("Need to get 1 B.\n'http://h/d/pool/x_1%2b2.deb' x_1%3a1+2_all.deb 12 SHA256:{hex}\n");
        let found = parse(&text).unwrap();
        assert_eq!(
            found,
            [PrintedUri { uri: "http://h/d/pool/x_1+2.deb".into(), size: 12, sha256: hex.parse().unwrap() }]
        );
    }

    #[test]
    fn other_lines_with_a_quote_are_refused() {
        let hex = "a".repeat(64);
        for bad in [
            "'".to_owned(),
            "'http://h/x".into(),
            "'http://h/x' x 1".into(),
            format!("'http://h/x' x -1 SHA256:{hex}"),
            format!("'http://h/x' x 1 MD5Sum:{hex}"),
            format!("'http://h/%zz' x 1 SHA256:{hex}"),
            format!("'http://h/%2' x 1 SHA256:{hex}"),
            format!("'http://h/x' x 1 SHA256:{hex} y"),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
