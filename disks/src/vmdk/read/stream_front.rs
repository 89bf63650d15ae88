//! Checks the front of a stream, up to its first grain, against the limits.

use std::io::Read;

use crate::vmdk::layout::encoding;
use crate::vmdk::layout::extent_layout::{ExtentLayout, ViolationAt};
use crate::vmdk::layout::header::{SECTOR_LEN, SparseHeader};
use crate::vmdk::layout::limits::{DESCRIPTOR_LEN_MAX, FRONT_LEN_MAX};
use crate::vmdk::layout::tables::check_fixed;
use crate::vmdk::read::stream_input::Input;
use crate::vmdk::{Parent, VmdkViolation};
use melv_block::Result;
use melv_block::container::vmdk::{Mark, mark};

/// The reason to refuse a descriptor from a pipe.
pub(crate) const DESCRIPTOR_ALONE: &str = "a descriptor in a pipe that names other files; give it as a file";

/// Refuses formats that cannot be read from a pipe, by their first bytes.
pub(crate) fn check_is_stream(first: &[u8]) -> Result<(), VmdkViolation> {
    match mark(first) {
        Some(Mark::Sparse) => Ok(()),
        Some(Mark::Descriptor) => Err(VmdkViolation::unsupported(DESCRIPTOR_ALONE)),
        Some(Mark::EsxSparse) => Err(VmdkViolation::unsupported("ESX's copy-on-write extents (COWD)")),
        Some(Mark::SeSparse) => {
            Err(VmdkViolation::unsupported("ESX's space-efficient sparse extents (seSparse)"))
        }
        None => Err(VmdkViolation::NotVmdk),
    }
}

/// Refuses a descriptor or a sparse extent that names a parent. Reads from the pipe up to the end
/// of the descriptor.
///
/// # Errors
/// [`DiskError::Difference`](crate::DiskError::Difference), and the errors of reading the pipe.
pub(crate) fn check_is_whole<R: Read>(input: &mut Input<R>, front: &mut Vec<u8>) -> Result<()> {
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
        Some(parent) => Err(VmdkViolation::Difference { parent: Box::new(parent) }.at(&*input.name, start)),
        None => Ok(()),
    }
}

/// Returns the number of bytes before the first grain, if they may be held in memory.
pub(crate) fn check_front(layout: &ExtentLayout) -> Result<u64, ViolationAt> {
    let front = layout.overhead_sectors.saturating_mul(SECTOR_LEN);
    if front > FRONT_LEN_MAX {
        let feature = format!(
            "{front} bytes of tables before the first grain, more than the limit of {FRONT_LEN_MAX} for a \
             pipe; give it as a file"
        );
        return Err((64, VmdkViolation::unsupported(feature)));
    }
    if front < SECTOR_LEN {
        let what = "the number of sectors before the first grain";
        let found = layout.overhead_sectors;
        return Err((64, VmdkViolation::Value { what, found, expected: "at least that of the header" }));
    }
    let inside = |region: &crate::vmdk::layout::extent_layout::Region| region.start < layout.overhead_sectors;
    let fixed: Vec<_> = layout.fixed_regions().into_iter().filter(inside).collect();
    check_fixed(&fixed, front)?;
    Ok(front)
}

/// Returns the embedded descriptor's space in the bytes before the first grain.
pub(crate) fn descriptor_room<'a>(layout: &ExtentLayout, front: &'a [u8]) -> Result<&'a [u8], ViolationAt> {
    let Some((sector, sectors)) = layout.descriptor else {
        return Err((0, VmdkViolation::NoDescriptor));
    };
    let start = sector.saturating_mul(SECTOR_LEN);
    let len = sectors.saturating_mul(SECTOR_LEN);
    if len > DESCRIPTOR_LEN_MAX {
        return Err((start, VmdkViolation::DescriptorLen { found: len, max: DESCRIPTOR_LEN_MAX }));
    }
    let (needed, found) = (start.saturating_add(len), front.len() as u64);
    if needed > found {
        return Err((start, VmdkViolation::Truncated { needed, found }));
    }
    let room = &front[start as usize..needed as usize];
    if room.first().is_none_or(|&byte| byte == 0) {
        return Err((start, VmdkViolation::NoDescriptor));
    }
    Ok(room)
}
