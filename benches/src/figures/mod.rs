//! One measurement per figure, beside its floor if it has one.
//!
//! | module | figures |
//! |---|---|
//! | `cold` | 4 KiB from a chunk that must be decoded; a bare decode beside the `zstd` command's measure |
//! | `hot` | 4 KiB from the cache, against pread of the raw file |
//! | `sequential` | a disk's data from front to back, on one thread and two; repeated decoding |
//! | `import` | a disk that is all new, one that is all shared |
//! | `open` | an image with a map of 1 TiB; an image of many generations |
//! | `boot` | the recorded reads of a boot on an empty cache |
//! | `stored` | the stored size of the eight disks, and of their maps |
//! | `frontier` | chunk size and level: stored size against cold read time |

pub mod boot;
pub mod cold;
pub mod frontier;
pub mod hot;
pub mod import;
pub mod open;
pub mod sequential;
pub mod stored;
