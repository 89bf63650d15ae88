//! Entry points for the harness in `fuzz/`.

use std::sync::Arc;

use super::segment::Segment;
use crate::storage::{ObjectName, ReadAt};

/// Opens a segment as lookups do, reads all its entries, and looks up `key` and every key in it. Returns
/// the number of entries read, and the number found again by their keys; `None` if the segment is
/// rejected.
#[must_use]
pub fn segment(object: Arc<dyn ReadAt>, key: u64) -> Option<(usize, usize)> {
    let segment = Segment::open(ObjectName::constant("segment"), object).ok()?;
    let mut found = Vec::new();
    segment.find(key, &mut found).ok()?;
    assert!(found.iter().all(|entry| entry.key == key), "entries of another key");
    let numbers: Vec<Option<u32>> = (0..segment.lists.len() as u32).map(Some).collect();
    let entries: Vec<_> = segment.iter(&numbers).collect::<Result<_, _>>().ok()?;
    let mut again = 0;
    for entry in &entries {
        found.clear();
        segment.find(entry.key, &mut found).ok()?;
        again += usize::from(found.contains(entry));
    }
    Some((entries.len(), again))
}
