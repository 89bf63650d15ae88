//! The lines of a descriptor's text.

/// The maximum number of characters of a line that an error shows.
const SHOWN_CHARS: usize = 120;

/// Returns the trimmed lines of a text; CR, LF and CR LF all end a line.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut after_return = false;
    text.split_inclusive(['\n', '\r']).filter_map(move |line| {
        let ends_pair = after_return && line == "\n";
        after_return = line.ends_with('\r');
        (!ends_pair).then(|| line.trim())
    })
}

/// Returns the part of a text that an error shows.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
