//! Doors for the harness in `fuzz/`.

use std::sync::Arc;

use super::segment::Segment;
use crate::storage::ReadAt;

/// Opens a segment as look-ups do, takes all its entries, and looks for `key` and for every key that it has. Gives
/// how many entries it read and how many of their keys it found again; `None` where it is not believed.
#[must_use]
pub fn segment(object: Arc<dyn ReadAt>, key: u64) -> Option<(usize, usize)> {
    let segment = Segment::open("segment".into(), object).ok()?;
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
