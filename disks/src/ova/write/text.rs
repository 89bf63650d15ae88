//! The texts that a machine may hold.
//!
//! A descriptor is XML, which has no form for most control characters; a VMX file has one line for each value. So
//! control characters are refused, and everything else is escaped by the writers. Names of machines become names
//! of folders and files in products, so they follow stricter rules than descriptions.

use super::error::{OvaError, TextFault};

/// The maximum length of a machine's name, in characters: vSphere's.
pub(super) const NAME_CHARS_MAX: usize = 80;
/// The maximum length of a description, in characters: products cut or refuse longer ones.
pub(super) const DESCRIPTION_CHARS_MAX: usize = 255;
/// The maximum length of a plain name, in bytes, so that it fits into the name of a file with others.
const PLAIN_LEN_MAX: usize = 64;
/// The maximum length of the name of a file, in bytes, as in file systems.
const FILE_LEN_MAX: usize = 255;

/// Checks a name that products show, and name folders after.
///
/// # Errors
/// [`OvaError::Text`].
pub(super) fn check_name(field: &'static str, text: &str) -> Result<(), OvaError> {
    // vSphere replaces these three by `%2f`, `%5c` and `%25`.
    let is_bad = |char| is_unwritable(char) || matches!(char, '/' | '\\' | '%');
    check(field, text, NAME_CHARS_MAX, is_bad)?;
    if text.starts_with('.') { Err(fault(field, text, TextFault::Dot)) } else { Ok(()) }
}

/// Checks a text of one line.
///
/// # Errors
/// [`OvaError::Text`].
pub(super) fn check_line(field: &'static str, text: &str) -> Result<(), OvaError> {
    check(field, text, NAME_CHARS_MAX, is_unwritable)
}

/// Checks a text of several lines, which may be empty.
///
/// # Errors
/// [`OvaError::Text`].
pub(super) fn check_lines(field: &'static str, text: &str) -> Result<(), OvaError> {
    if text.is_empty() {
        return Ok(());
    }
    check(field, text, DESCRIPTION_CHARS_MAX, |char| char != '\n' && is_unwritable(char))
}

/// Checks a name that becomes a part of a file's name: letters and digits of ASCII, `-`, `_`, `.`.
///
/// # Errors
/// [`OvaError::Text`].
pub(super) fn check_plain(field: &'static str, text: &str) -> Result<(), OvaError> {
    check(field, text, PLAIN_LEN_MAX, |char| !is_plain(char))?;
    if text.starts_with('.') { Err(fault(field, text, TextFault::Dot)) } else { Ok(()) }
}

/// Checks the name of a file beside another one.
///
/// # Errors
/// [`OvaError::Text`].
pub(super) fn check_file_name(field: &'static str, text: &str) -> Result<(), OvaError> {
    // A VMDK's descriptor holds its own name between quotation marks and has no escape for them.
    let is_bad = |char| is_unwritable(char) || matches!(char, '/' | '\\' | '"');
    check(field, text, FILE_LEN_MAX, is_bad)?;
    match text.len() {
        _ if text.starts_with('.') => Err(fault(field, text, TextFault::Dot)),
        len if len > FILE_LEN_MAX => {
            Err(fault(field, text, TextFault::Long { found: len, max: FILE_LEN_MAX }))
        }
        _ => Ok(()),
    }
}

/// Returns a plain name made from any other: characters that are not plain become `-`.
pub(super) fn plain_name(text: &str) -> String {
    let plain: String = text.chars().map(|char| if is_plain(char) { char } else { '-' }).collect();
    // Programs take a leading hyphen for an option, and a leading dot hides a file.
    let plain = plain.trim_start_matches(['-', '.']).trim_end_matches(['-', '.']);
    let plain = plain.get(..PLAIN_LEN_MAX).unwrap_or(plain);
    if plain.is_empty() { "appliance".into() } else { plain.into() }
}

fn check(field: &'static str, text: &str, max: usize, is_bad: impl Fn(char) -> bool) -> Result<(), OvaError> {
    let found = text.chars().count();
    if text.is_empty() {
        return Err(fault(field, text, TextFault::Empty));
    }
    if found > max {
        return Err(fault(field, text, TextFault::Long { found, max }));
    }
    if let Some((at, character)) = text.char_indices().find(|&(_, char)| is_bad(char)) {
        return Err(fault(field, text, TextFault::Character { character, at }));
    }
    if text.trim() == text { Ok(()) } else { Err(fault(field, text, TextFault::Blank)) }
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.')
}

/// Returns whether XML 1.0 has no form for a character, or a VMX file none within a line.
fn is_unwritable(char: char) -> bool {
    // U+FFFE and U+FFFF are not characters of XML (XML 1.0, section 2.2); the two separators end a line in
    // some readers.
    char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}')
}

fn fault(field: &'static str, text: &str, fault: TextFault) -> OvaError {
    OvaError::Text { field, found: text.chars().take(80).collect(), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_safe_as_files() {
        for (text, plain) in [
            ("nginx", "nginx"),
            ("größe 1", "gr--e-1"),
            ("..", "appliance"),
            ("-rf", "rf"),
            ("日本", "appliance"),
            ("a.ovf", "a.ovf"),
        ] {
            assert_eq!(plain_name(text), plain, "{text}");
        }
        assert_eq!(plain_name(&"x".repeat(80)).len(), 64);
    }
}
