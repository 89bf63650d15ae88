//! melv's images as files: a read-only FUSE file system.
//!
//! ```text
//! DIR/NAME/TAG.raw        a disk, as long as the guest sees it, sparse where it is zeros
//! ```
//!
//! Linux does the rest: any program that reads a file can read an image, and a loop device can mount it.
//!
//! # From a path to a disk
//!
//! The kernel looks up names one by one and gets *inode numbers*. A number stands for an image **under a
//! name**. When the name moves to another image, the path gets another number. The kernel's data about the
//! old number stays valid for processes that have it open. So the kernel may keep data in the page cache as
//! long as it likes (`FOPEN_KEEP_CACHE`), and attributes for an hour. Names, however, are looked up each
//! time. A lookup costs two small reads of the store, of the name's record and of the image's, however many
//! names there are. It makes new images appear, removed ones disappear, and replaced ones change without
//! notifications. Only two requests read all names: a listing of the root, and `statfs`, which counts them.
//!
//! | information | validity in the kernel |
//! |---|---|
//! | bytes and attributes of a file | unlimited: an image never changes |
//! | image of `NAME/TAG.raw` | none |
//! | existence of a folder `NAME` | half a second |
//! | absence of a name | none |
//!
//! An open file holds its [`Export`](melv_serve::Export) and the objects it reads from, regardless of the
//! name. If the name moves to another image while a file is opened, the open fails as stale. The kernel then
//! looks the name up again, and the program does not notice.
//!
//! # Damage
//!
//! A request that needs a damaged chunk fails as a whole with `EIO`. It must not be answered in part, since
//! the kernel takes a short answer as the end of the file. Because the kernel reads ahead, requests are often
//! longer than the reads of programs. When a read-ahead fails, however, the kernel retries with exactly the
//! pages needed. So a program gets an error for damaged data only (`tests/damage.rs` checks this).
//!
//! # Speed
//!
//! A request costs two system calls, two context switches and one copy by the kernel; the design keeps all
//! else below that. Each thread has one buffer, which the disk fills and the answer is sent from, and which
//! is never cleared. Each thread has its own queue to the kernel (`clone_fd`), and up to [`BACKGROUND`]
//! requests of read-ahead and of asynchronous readers run concurrently. There is one thread for each core, at
//! least two. Reads that wait for a drive or a network move to extra threads, as far as the
//! [`Budget`](melv_serve::Budget) allows.
//!
//! | module | content |
//! |---|---|
//! | `filesystem` | the requests of the kernel, and the answers |
//! | `inodes` | inode numbers, for as long as the kernel remembers them |
//! | `buffer` | the memory that answers are sent from |
//! | `waiting` | reads that wait for the medium without blocking others |
//! | `handles` | the handles of open files and folders |
//! | `listing` | lookup of one name, the names in a folder, or all names |
//! | `attributes` | the attributes for `stat` and `getfattr` |
//! | `session` | a file system from its mounting to its end |
//! | `device` | the kernel's device, from `mount(2)` or `fusermount3`; unmounting |
//! | `folder` | checks of folders before mounting |
//! | `mounts` | the kernel's table of mounts |
//! | `umount` | unmounting from another process |

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
