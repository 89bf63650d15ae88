//! Helpers of the tests: random trees, outside tools, comparison of folders with trees.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod compare;
pub mod trees;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// Random numbers by a seed: SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn chance(&mut self, in_hundred: u64) -> bool {
        self.below(100) < in_hundred
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Runs a tool that must be there, and must succeed. Returns its output.
pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(tool: &str, arguments: I) -> String {
    let output = output(tool, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{tool}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// Runs a tool that must be there.
pub fn output<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(tool: &str, arguments: I) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(tool).args(arguments).env("PATH", path).env("LC_ALL", "C").output();
    output.unwrap_or_else(|error| panic!("{tool} is needed by this test: {error}"))
}

/// A mounted image; dropping unmounts it.
pub struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    pub fn new(image: &Path, kind: &str, folder: &'a Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        run(
            "mount",
            [OsStr::new("-t"), kind.as_ref(), "-oro,loop".as_ref(), image.as_ref(), folder.as_ref()],
        );
        Self(folder)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        run("umount", [self.0]);
    }
}

/// The number of rounds of a random test: `MELV_ROUNDS`, else `usual`.
pub fn rounds(usual: u64) -> u64 {
    std::env::var("MELV_ROUNDS").map_or(usual, |text| text.parse().expect("MELV_ROUNDS is a number"))
}

pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}
