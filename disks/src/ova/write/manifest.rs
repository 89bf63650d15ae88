//! The manifest of a package: a SHA-256 digest for each file.
//!
//! Source of the form: DMTF DSP0243, "OVF Package"; the spelling without a blank before the equals sign is that of
//! VMware's tools. OVF 2 names SHA-256, and vSphere reads it; old releases of ESXi read SHA-1 alone.

use std::fmt::Write;

/// The digest of a file, SHA-256.
pub(super) type Digest = [u8; 32];

/// Returns the manifest of files in the order of the archive.
pub(super) fn manifest<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Vec<u8> {
    let mut text = String::new();
    for (name, digest) in files {
        let _ = write!(text, "SHA256({name})= ");
        for byte in digest {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_a_line() {
        let mut digest = [0; 32];
        digest[0] = 0xab;
        let text =
            String::from_utf8(manifest([("a.ovf", digest), ("a-disk1.vmdk", [0x11; 32])])).expect("text");
        let zeros = "00".repeat(31);
        let ones = "11".repeat(32);
        assert_eq!(text, format!("SHA256(a.ovf)= ab{zeros}\nSHA256(a-disk1.vmdk)= {ones}\n"));
    }
}
