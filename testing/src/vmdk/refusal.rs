//! The reasons for which a VMDK is refused.

use melv_block::{BlockError, Result};
use melv_disks::DiskError;
use melv_disks::vmdk::VmdkViolation;

/// The fault of a refused VMDK, and its byte.
pub fn fault<T>(result: Result<T>) -> (u64, VmdkViolation) {
    let error = result.err().expect("it is refused");
    match error.into_detail() {
        Ok(DiskError::Vmdk { offset, violation, .. }) => (offset, violation),
        other => panic!("{other:?}"),
    }
}

/// The feature that a refused VMDK needs; for a difference the whole message.
pub fn feature<T>(result: Result<T>) -> String {
    let error = result.err().expect("it is refused");
    match (error.detail(), error.detail()) {
        (Some(BlockError::Unsupported { feature, .. }), _) => feature.clone(),
        (_, Some(DiskError::Difference { .. })) => error.to_string(),
        _ => panic!("{error:?}"),
    }
}
