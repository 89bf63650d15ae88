//! Packages of sources, for tests.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

/// A tar in the form `ustar`.
#[derive(Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// Adds an entry: `0` is a file, `1` a hard link, `2` a symbolic link, `3` a device, `5` a folder.
    pub(super) fn add(mut self, flag: u8, path: &str, to: &str, content: &[u8]) -> Self {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, "0000755");
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000001");
        put(148, "        ");
        put(157, to);
        put(257, "ustar");
        put(263, "00");
        header[156] = flag;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, path: &str, content: &str) -> Self {
        self.add(b'0', path, "", content.as_bytes())
    }

    pub(super) fn link(self, path: &str, to: &str) -> Self {
        self.add(b'2', path, to, b"")
    }

    pub(super) fn folder(self, path: &str) -> Self {
        self.add(b'5', path, "", b"")
    }

    pub(super) fn bytes(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 0).read_to_end(&mut packed).unwrap();
    packed
}

/// Returns a package whose only file is `source`.
pub(super) fn package(source: &[u8]) -> Vec<u8> {
    let data = Tar::default()
        .folder("./")
        .file("./usr/share/doc/linux-source-6.1/copyright", "GPL")
        .add(b'0', "./usr/src/linux-source-6.1.tar.xz", "", source)
        .bytes();
    let control = Tar::default().file("./control", "Package: linux-source-6.1\n").bytes();
    let mut package = b"!<arch>\n".to_vec();
    for (name, bytes) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar.xz", xz(&control)), ("data.tar.xz", xz(&data))]
    {
        let size = bytes.len();
        writeln!(package, "{name:16}{:12}{:6}{:6}{:8}{size:<10}`", 0, 0, 0, 100_644).unwrap();
        package.extend_from_slice(&bytes);
        package.resize(package.len().next_multiple_of(2), b'\n');
    }
    package
}

pub(super) fn file(folder: &Path, bytes: &[u8]) -> File {
    let place = folder.join("linux-source.deb");
    std::fs::write(&place, bytes).unwrap();
    File::open(place).unwrap()
}
