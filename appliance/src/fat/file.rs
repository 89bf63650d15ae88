//! A file of the volume.

use crate::tree::Content;

/// A file to be put into the volume.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// The path: names with `/` between them, none in front. Its folders are made.
    pub path: &'a str,
    /// The content.
    pub content: &'a Content,
}
