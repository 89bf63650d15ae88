//! Colours on standard error.

use std::io::{self, IsTerminal};

use crate::globals::Color;

/// Whether the terminal handles plain text only.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether standard error gets colours.
pub fn is_colored(color: Color) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !refused && !is_dumb() && io::stderr().is_terminal(),
    }
}
