//! Checks the front of a stream, up to its first grain, against the limits.

use std::io::Read;

use super::header::{SECTOR_LEN, SparseHeader};
use super::layout::{Layout, Placed};
use super::limits::{DESCRIPTOR_LEN_MAX, FRONT_LEN_MAX};
use super::stream_input::Input;
use super::tables::check_fixed;
use super::{Fault, Parent, encoding};
use melv_block::Result;
use melv_block::container::vmdk::{Mark, mark};

/// The reason to refuse a descriptor from a pipe.
pub(super) const DESCRIPTOR_ALONE: &str =
    "a pipe gives one file only, and this descriptor names others; give it as a file";

/// Refuses formats that cannot be read from a pipe, by their first bytes.
pub(super) fn check_is_stream(first: &[u8]) -> Result<(), Fault> {
    match mark(first) {
        Some(Mark::Sparse) => Ok(()),
        Some(Mark::Descriptor) => Err(Fault::unsupported(DESCRIPTOR_ALONE)),
        Some(Mark::EsxSparse) => Err(Fault::unsupported("ESX's copy-on-write extents (COWD)")),
        Some(Mark::SeSparse) => Err(Fault::unsupported("ESX's space-efficient sparse extents (seSparse)")),
        None => Err(Fault::NotVmdk),
    }
}

/// Refuses a descriptor or a sparse extent that names a parent. Reads from the pipe up to the end
/// of the descriptor.
///
/// # Errors
/// [`DiskError::Difference`](crate::DiskError::Difference), and the errors of reading the pipe.
pub(super) fn check_is_whole<R: Read>(input: &mut Input<R>, front: &mut Vec<u8>) -> Result<()> {
    let (start, end) = match mark(front) {
        Some(Mark::Descriptor) => (0, DESCRIPTOR_LEN_MAX),
        Some(Mark::Sparse) => {
            let Ok(header) = SparseHeader::decode(front) else { return Ok(()) };
            if header.descriptor_sector == 0 {
                return Ok(());
            }
            let start = header.descriptor_sector.saturating_mul(SECTOR_LEN);
            (start, start.saturating_add(header.descriptor_sectors.saturating_mul(SECTOR_LEN)))
        }
        _ => return Ok(()),
    };
    if end > FRONT_LEN_MAX || end - start > DESCRIPTOR_LEN_MAX {
        return Ok(());
    }
    input.append(end.saturating_sub(front.len() as u64), front)?;
    let text = front.get(start as usize..(end as usize).min(front.len())).unwrap_or_default();
    let parent = encoding::decode(text).ok().and_then(|(text, _)| Parent::of(&text));
    match parent {
        Some(parent) => Err(Fault::Difference { parent: Box::new(parent) }.at(&*input.name, start)),
        None => Ok(()),
    }
}

/// Returns the number of bytes before the first grain, if they may be held in memory.
pub(super) fn check_front(layout: &Layout) -> Result<u64, Placed> {
    let front = layout.overhead_sectors.saturating_mul(SECTOR_LEN);
    if front > FRONT_LEN_MAX {
        let feature = format!(
            "{front} bytes of tables in front of the first grain, more than the {FRONT_LEN_MAX} that a \
             pipe is read with; give it as a file"
        );
        return Err((64, Fault::unsupported(feature)));
    }
    if front < SECTOR_LEN {
        let what = "the number of sectors in front of the first grain";
        let found = layout.overhead_sectors;
        return Err((64, Fault::Value { what, found, expected: "the header's at least" }));
    }
    let inside = |region: &super::layout::Region| region.start < layout.overhead_sectors;
    let fixed: Vec<_> = layout.fixed_regions().into_iter().filter(inside).collect();
    check_fixed(&fixed, front)?;
    Ok(front)
}

/// Returns the embedded descriptor's space in the bytes before the first grain.
pub(super) fn descriptor_room<'a>(layout: &Layout, front: &'a [u8]) -> Result<&'a [u8], Placed> {
    let Some((sector, sectors)) = layout.descriptor else {
        return Err((0, Fault::NoDescriptor));
    };
    let start = sector.saturating_mul(SECTOR_LEN);
    let len = sectors.saturating_mul(SECTOR_LEN);
    if len > DESCRIPTOR_LEN_MAX {
        return Err((start, Fault::DescriptorLen { found: len, max: DESCRIPTOR_LEN_MAX }));
    }
    let (needed, found) = (start.saturating_add(len), front.len() as u64);
    if needed > found {
        return Err((start, Fault::Truncated { needed, found }));
    }
    let room = &front[start as usize..needed as usize];
    if room.first().is_none_or(|&byte| byte == 0) {
        return Err((start, Fault::NoDescriptor));
    }
    Ok(room)
}
