//! Finds the oddities of a sparse extent that its header and its descriptor show.

use crate::vmdk::layout::header::{FLAG_NEWLINES, SparseHeader};
use crate::warning::{Oddity, Warning};

/// Returns the oddities of a sparse extent's header.
pub(crate) fn of_header(object: &str, header: &SparseHeader) -> Vec<Warning> {
    let warning = |oddity| Warning { object: object.to_owned(), oddity };
    let unclean = header.is_unclean.then_some(Oddity::Unclean);
    let newlines = (header.has(FLAG_NEWLINES) && !header.newlines_intact).then_some(Oddity::Newlines);
    unclean.into_iter().chain(newlines).map(warning).collect()
}

/// Returns the oddity of an embedded descriptor's space, if any.
pub(crate) fn of_descriptor(object: &str, room: &[u8]) -> Option<Warning> {
    let is_full = room.last().is_some_and(|&byte| byte != 0 && byte != b'\n' && byte != b' ');
    is_full.then(|| Warning { object: object.to_owned(), oddity: Oddity::FullDescriptor })
}
