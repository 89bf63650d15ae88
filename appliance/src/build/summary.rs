//! What people are told of an appliance after its build.

use crate::tree::Kind;

use super::Plan;

/// Files of an appliance, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Packages that files are of.
    pub packages: usize,
    /// Files, folders and links.
    pub files: usize,
    /// Bytes of all files, each inode once.
    pub bytes: u64,
    /// The largest files, the largest first.
    pub largest: Vec<LargeFile>,
    /// Bytes of the kernel and its initrd.
    pub kernel_bytes: u64,
    /// Facts that whoever builds should know.
    pub notes: Vec<String>,
}

/// A large file and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFile {
    /// Path.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// The chain of reasons.
    pub why: String,
}

impl Plan {
    /// Counts the files, and returns the `count` largest with their reasons.
    #[must_use]
    pub fn summary(&self, count: usize) -> Summary {
        let mut left = vec![self.tree.root()];
        let mut files = 0;
        while let Some(id) = left.pop() {
            files += 1;
            if let Kind::Directory(entries) = &self.tree.get(id).kind {
                left.extend(entries.values());
            }
        }
        let large = |(path, bytes): (&[u8], u64)| LargeFile {
            path: String::from_utf8_lossy(path).into_owned(),
            bytes,
            why: self.closure.why(path).map(|why| why.to_string()).unwrap_or_default(),
        };
        let kernel = self.kernel.kernel.len() + self.kernel.initrd.as_ref().map_or(0, Vec::len);
        let mut notes: Vec<String> = self.closure.notes().iter().map(ToString::to_string).collect();
        if self.left_out > 0 {
            notes.push(format!("{} devices and named pipes were left out", self.left_out));
        }
        Summary {
            packages: self.packages.len(),
            // The root is no entry of its own.
            files: files - 1,
            bytes: self.closure.bytes(),
            largest: self.closure.largest(count).into_iter().map(large).collect(),
            kernel_bytes: kernel as u64,
            notes,
        }
    }
}
