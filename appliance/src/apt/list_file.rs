//! A list of packages on this machine, stanza by stanza.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::error::AptError;
use super::stanzas::{Stanza, each_stanza};

/// Calls `each` with the stanzas of a file.
pub(super) fn each(path: &PathBuf, each: impl FnMut(Stanza<'_>) -> ControlFlow<()>) -> Result<(), AptError> {
    let file = File::open(path).map_err(AptError::io(path))?;
    each_stanza(BufReader::with_capacity(1 << 18, file), each).map_err(AptError::io(path))
}
