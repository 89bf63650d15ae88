//! Writes a disk's descriptor with the keys that every product expects, and no others.
//!
//! Source of the keys: VMware, *Virtual Disk Format 5.0* (technical note), "The Descriptor File".
//! Values that the note leaves open follow VMware's own converters, because products are tested
//! with those. They are the hardware version that every release knows, an LSI Logic adapter with
//! 255 heads, and the tools version for "not from VMware". Each key appears once: VirtualBox
//! refuses a disk that repeats one.

use std::ffi::OsStr;
use std::fmt::Write;

use crate::vmdk::layout::header::SECTOR_LEN;
use melv_block::SectorBits;
use melv_block::{BlockError, Error, Result};

/// The space for the text, in sectors. Every writer reserves this much, so that products can add
/// their own keys in place.
pub(crate) const DESCRIPTOR_SECTORS: u64 = 20;
/// The extent's name in a stream that has no file name.
pub(crate) const STREAM_NAME: &str = "disk.vmdk";
/// The content id of a disk whose digest is unknown: the digits of `melv`. A streaming writer has
/// nothing to derive an id from, and a random id would make files of equal disks differ.
const UNKNOWN_CID: &str = "6d656c76";
/// Content ids with a meaning: "none", "no parent", and "see the long content id".
const RESERVED_CIDS: [&str; 3] = ["00000000", "ffffffff", "fffffffe"];
/// The maximum length of a file name, in bytes.
const NAME_LEN_MAX: usize = 255;
const HEADS: u64 = 255;
const TRACK_SECTORS: u64 = 63;
/// A BIOS counts cylinders in 16 bits.
const CYLINDERS_MAX: u64 = 65_535;

/// The content of a descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DescriptorText<'a> {
    /// The disk type, such as `monolithicSparse`.
    pub(crate) create_type: &'static str,
    /// The access, `RW` or `RDONLY`.
    pub(crate) access: &'static str,
    /// The size of the disk, in sectors.
    pub(crate) capacity_sectors: u64,
    /// The file's own name; see [`own_name`].
    pub(crate) name: &'a str,
    /// The disk's content id, from which VMware's content ids are derived.
    pub(crate) content: Option<[u8; 32]>,
    /// The sizes of the disk's sectors.
    pub(crate) sectors: SectorBits,
}

impl DescriptorText<'_> {
    /// Returns the text, padded with zeros to [`DESCRIPTOR_SECTORS`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.text().into_bytes();
        // The fixed part has about 500 bytes and the name is bounded, so it always fits.
        bytes.resize((DESCRIPTOR_SECTORS * SECTOR_LEN) as usize, 0);
        bytes
    }

    fn text(&self) -> String {
        let Self { create_type, access, capacity_sectors, name, content, sectors } = self;
        let (cid, long_id) = content_ids(*content);
        let cylinders = (capacity_sectors / (HEADS * TRACK_SECTORS)).clamp(1, CYLINDERS_MAX);
        let mut text = format!(
            "# Disk DescriptorFile\n\
             version=1\n\
             encoding=\"UTF-8\"\n\
             CID={cid}\n\
             parentCID=ffffffff\n\
             createType=\"{create_type}\"\n\
             \n\
             # Extent description\n\
             {access} {capacity_sectors} SPARSE \"{name}\"\n\
             \n\
             # The Disk Data Base\n\
             #DDB\n\
             \n\
             ddb.virtualHWVersion = \"4\"\n\
             ddb.geometry.cylinders = \"{cylinders}\"\n\
             ddb.geometry.heads = \"{HEADS}\"\n\
             ddb.geometry.sectors = \"{TRACK_SECTORS}\"\n\
             ddb.adapterType = \"lsilogic\"\n\
             ddb.toolsVersion = \"2147483647\"\n"
        );
        if sectors.logical != SectorBits::default().logical {
            let (logical, physical) = (sectors.logical_bytes(), sectors.physical_bytes());
            let _ = writeln!(text, "ddb.logicalSectorSize = \"{logical}\"");
            let _ = writeln!(text, "ddb.physicalSectorSize = \"{physical}\"");
        }
        if let Some(long_id) = long_id {
            let _ = writeln!(text, "ddb.longContentID = \"{long_id}\"");
        }
        text
    }
}

/// Returns VMware's two content ids, of 8 and of 32 digits; the long one ends with the short one.
fn content_ids(content: Option<[u8; 32]>) -> (String, Option<String>) {
    let Some(content) = content else { return (UNKNOWN_CID.into(), None) };
    let digits: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
    let short = if RESERVED_CIDS.contains(&&digits[..8]) { UNKNOWN_CID } else { &digits[..8] };
    (short.into(), Some(format!("{}{short}", &digits[8..32])))
}

/// Returns a file's own name if it can stand between quotes in an extent's line unescaped.
///
/// # Errors
/// [`BlockError::Invalid`].
pub(crate) fn own_name(name: &OsStr) -> Result<&str> {
    let expected = "a file name in UTF-8, at most 255 bytes, without quotation marks, backslashes and \
                    control characters";
    name.to_str().filter(|name| is_plain(name)).ok_or_else(|| {
        Error::from(BlockError::Invalid {
            what: "name of a VMDK",
            found: name.to_string_lossy().into_owned(),
            expected,
        })
    })
}

fn is_plain(name: &str) -> bool {
    let is_bad = |char: char| char.is_control() || matches!(char, '"' | '/' | '\\');
    !name.is_empty() && name.len() <= NAME_LEN_MAX && !name.chars().any(is_bad)
}

/// Returns the extent's name in a stream called `name`: its last component if that names a VMDK, so
/// that a stream and a file of one name are identical; otherwise [`STREAM_NAME`].
pub(crate) fn stream_name(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or_default();
    let names_vmdk = last.len() > ".vmdk".len() && last.to_ascii_lowercase().ends_with(".vmdk");
    if names_vmdk && is_plain(last) { last } else { STREAM_NAME }
}

#[cfg(test)]
mod tests {
    use super::*;
    use melv_block::ErrorKind;

    fn descriptor(content: Option<[u8; 32]>, capacity_sectors: u64) -> DescriptorText<'static> {
        DescriptorText {
            create_type: "streamOptimized",
            access: "RDONLY",
            capacity_sectors,
            name: "web 1.vmdk",
            content,
            sectors: SectorBits::default(),
        }
    }

    #[test]
    fn sectors_of_another_size_are_told() {
        let plain = descriptor(None, 8);
        assert!(!plain.text().contains("SectorSize"));
        let text = DescriptorText { sectors: SectorBits { logical: 12, physical: 12 }, ..plain }.text();
        assert!(text.contains("\nddb.logicalSectorSize = \"4096\"\nddb.physicalSectorSize = \"4096\"\n"));
    }

    #[test]
    fn content_ids_come_from_the_content_and_are_never_reserved() {
        let mut digest = [0xab; 32];
        digest[4..16].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let text = descriptor(Some(digest), 1).text();
        assert!(text.contains("\nCID=abababab\n"), "{text}");
        assert!(text.contains("\nddb.longContentID = \"0102030405060708090a0b0cabababab\"\n"), "{text}");
        for reserved in [[0; 4], [0xff; 4], [0xff, 0xff, 0xff, 0xfe]] {
            digest[..4].copy_from_slice(&reserved);
            assert!(descriptor(Some(digest), 1).text().contains("\nCID=6d656c76\n"));
        }
        let text = descriptor(None, 1).text();
        assert!(text.contains("\nCID=6d656c76\n") && !text.contains("longContentID"), "{text}");
    }

    #[test]
    fn the_text_fits_and_each_key_stands_once() {
        let name = "n".repeat(NAME_LEN_MAX);
        let descriptor = DescriptorText { name: &name, ..descriptor(Some([7; 32]), 1 << 50) };
        assert_eq!(descriptor.encode().len(), 20 * 512);
        let text = descriptor.text();
        assert!(text.len() < 20 * 512);
        assert!(text.starts_with("# Disk DescriptorFile\nversion=1\n"));
        let keys: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
        let once: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(keys.len(), once.len(), "{keys:?}");
    }

    #[test]
    fn cylinders_stay_what_a_bios_can_count() {
        for (capacity_sectors, cylinders) in
            [(1, 1), (16_064, 1), (2 * 16_065, 2), (4_194_304, 261), (u64::MAX, 65_535)]
        {
            let text = descriptor(None, capacity_sectors).text();
            assert!(text.contains(&format!("cylinders = \"{cylinders}\"")), "{capacity_sectors}: {text}");
        }
    }

    #[test]
    fn names_that_would_break_the_line_are_refused() {
        for good in ["web.vmdk", "web 1", "größe.vmdk", "a'b.img"] {
            assert_eq!(own_name(good.as_ref()).ok(), Some(good));
        }
        for bad in ["", "a\"b", "a/b", "a\\b", "a\nb", "a\0b", &"n".repeat(256)] {
            assert!(own_name(bad.as_ref()).is_err_and(|error| error.kind() == ErrorKind::Invalid), "{bad:?}");
        }
        let not_text = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff.vmdk");
        assert!(own_name(not_text).is_err_and(|error| error.kind() == ErrorKind::Invalid));
    }

    #[test]
    fn a_stream_is_named_after_a_vmdk_or_after_nothing() {
        for (name, expected) in [
            ("-", "disk.vmdk"),
            ("standard output", "disk.vmdk"),
            ("out/web.vmdk", "web.vmdk"),
            ("WEB.VMDK", "WEB.VMDK"),
            (".vmdk", "disk.vmdk"),
            ("a\"b.vmdk", "disk.vmdk"),
        ] {
            assert_eq!(stream_name(name), expected);
        }
    }
}
