//! The reasons for which a VMDK is refused.

use melv::vmdk::Fault;
use melv::{BlockError, DiskError, Result};

/// The fault of a refused VMDK, and its byte.
pub fn fault<T>(result: Result<T>) -> (u64, Fault) {
    let error = result.err().expect("it is refused");
    match error.into_detail() {
        Ok(DiskError::Vmdk { offset, fault, .. }) => (offset, fault),
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
