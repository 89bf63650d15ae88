//! Search for data in ranges that are expected to be zero.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::SPAN_LEN;
use crate::device::{BlockDevice, RunKind};
use crate::error::Result;
use crate::failure::BlockError;

/// Returns the offset of the first non-zero byte from `start` to `end`. Holes are not read. Memory: 1 MiB.
///
/// # Errors
/// Any error from reading the disk, and [`BlockError::Interrupted`].
pub fn first_data(
    device: &dyn BlockDevice,
    start: u64,
    end: u64,
    cancel: Option<&AtomicBool>,
) -> Result<Option<u64>> {
    let mut buffer = Vec::new();
    let mut offset = start;
    while offset < end {
        if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(BlockError::Interrupted.into());
        }
        let run = device.map(offset, end - offset)?;
        let len = run.len.min(end - offset);
        if run.kind == RunKind::Zero {
            offset += len;
            continue;
        }
        let len = len.min(SPAN_LEN as u64);
        buffer.resize(len as usize, 0);
        device.read_at(offset, &mut buffer)?;
        if let Some(at) = buffer.iter().position(|byte| *byte != 0) {
            return Ok(Some(offset + at as u64));
        }
        offset += len;
    }
    Ok(None)
}
