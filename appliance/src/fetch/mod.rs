//! Files by their digests: from the cache, from the mirror, or from the snapshot archive; never another file.
//!
//! A lock names each file by SHA-256 and size. A mirror drops a file when a newer version replaces it; then the snapshot
//! archive, by the lock's date, still has it. Each address may bring another file, or more bytes, or none: bytes are
//! hashed and counted as they come, and a file has its name in the cache only after its digest was found right. So an
//! answer is the file that the lock names, or an error that lists each address with its reason.
//!
//! The cache is a folder `files/sha256/AB/REST`. A file is written under a temporary name, checked, synced and renamed,
//! so that a process that is killed leaves nothing half there. A file of the cache is hashed when it is opened: a disk
//! that lost its bytes counts as a file that is not there. Two processes may write the same file; both write the same
//! bytes. The folder may be deleted at any time.
//!
//! | file | job |
//! |---|---|
//! | `cache` | the folder |
//! | `client` | one address over HTTP, with limits of time and length |
//! | `redirect` | the address that a redirect leads to |
//! | `fetcher` | cache, then addresses in turn; several files at a time |
//! | `error` | failures, with the reason of each address |

mod cache;
mod client;
mod error;
mod fetcher;
mod redirect;

pub use cache::{Cache, default_folder};
pub use error::{Attempt, FetchError, Reason};
pub use fetcher::{Fetcher, Options, Progress, SNAPSHOT, Source};
