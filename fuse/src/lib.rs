//! melv's images as files: a read-only FUSE file system.
//!
//! ```text
//! DIR/NAME/TAG.raw        a disk, as long as the guest sees it, sparse where it is zeros
//! ```
//!
//! Linux then does the rest: any program that reads a file reads an image, and a loop device mounts it.
//!
//! # From a path to a disk
//!
//! The kernel asks for names one by one and is given *inode numbers*. A number here stands for an image
//! **under a name**: when the name goes to another image, the path gets another number, and whatever the
//! kernel remembers of the old one is still right for those who have it open. So what was read may stay in
//! the page cache for as long as the kernel likes (`FOPEN_KEEP_CACHE`, attributes for an hour), while names
//! are asked for again each time. That is two small reads of the store (the name's record and the image's),
//! however many names there are, and the reason that new images appear, removed ones go and replaced ones
//! change without anybody being told. All names are read only where all are asked for: by a listing of the
//! root, and by `statfs`, which counts them.
//!
//! | thing | how long the kernel may believe it |
//! |---|---|
//! | bytes and attributes of a file | as long as it likes: an image never changes |
//! | which image `NAME/TAG.raw` is | not at all |
//! | that there is a folder `NAME` | half a second |
//! | that there is no such name | not at all |
//!
//! An open file holds its [`Disk`](melv::serving::Disk), and that what it reads from, whatever becomes of the
//! name. A file that is opened just when its name goes to another image is refused as stale; the kernel then
//! asks for the name anew, and no program sees it.
//!
//! # Damage
//!
//! A request that needs a damaged chunk fails as a whole with `EIO`. It must not be answered in part: to the
//! kernel a short answer is the end of the file. Requests are often longer than what a program asked for,
//! since the kernel reads ahead; but when that fails, it asks again for exactly the pages that are wanted, so a
//! program is refused what is damaged and nothing beside it (`tests/damage.rs` holds it to that).
//!
//! # Speed
//!
//! A request costs two system calls, two changes of context and one copy by the kernel; all else is kept below
//! that. Each of the threads has one buffer, which is written by the disk and sent from, and never cleared. Each
//! thread has a queue of its own to the kernel (`clone_fd`), and up to [`BACKGROUND`] requests of read-ahead
//! and of asynchronous readers are under way at once. There are as many threads as processors; reads that wait for a
//! drive or a network are left to others, so that up to 24 more can wait at once.
//!
//! | module | idea |
//! |---|---|
//! | `filesystem` | what the kernel asks, and the answers |
//! | `inodes` | numbers of names, for as long as the kernel remembers them |
//! | `buffer` | memory that answers are sent from |
//! | `waiting` | reads that wait for the medium, while others are answered |
//! | `handles` | numbers of open files and folders |
//! | `listing` | the names that there are: one, those of a folder, all |
//! | `attributes` | what `stat` and `getfattr` say |
//! | `session` | a file system from its mounting to its end |
//! | `device` | the kernel's device, by `mount(2)` or by `fusermount3`; unmounting |
//! | `folder` | where may be mounted |
//! | `mounts` | what is mounted where |
//! | `umount` | ending a mount from another process |

mod attributes;
mod buffer;
mod device;
mod error;
mod filesystem;
mod folder;
mod handles;
mod inodes;
mod listing;
mod mounts;
mod session;
mod umount;
mod waiting;

pub use error::{Error, Result};
pub use filesystem::BACKGROUND;
pub use folder::check;
pub use session::{MountOptions, Mounted, Unmounter, default_threads};
pub use umount::umount;
