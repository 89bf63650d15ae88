//! Writes VMDKs: `sparse` makes a file that products write to, `stream` a compressed one in a single pass.

pub(crate) mod descriptor_text;
pub(crate) mod pieces;
pub(crate) mod sparse;
pub(crate) mod stream;
