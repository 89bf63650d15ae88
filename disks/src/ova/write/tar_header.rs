//! The headers of the archive: USTAR, and GNU's form of a size beyond 8 GiB.

use tar::{EntryType, Header};

/// The length of a block, in bytes: a header has one, and contents fill whole ones.
pub(super) const BLOCK_LEN: u64 = 512;
/// The blocks of zeros that end an archive, in bytes.
pub(super) const END_LEN: u64 = 2 * BLOCK_LEN;
/// The largest size that eleven octal digits hold.
const USTAR_SIZE_MAX: u64 = (8 << 30) - 1;
/// 1980-01-01, the first day that every file system can store.
const MTIME: u64 = 315_532_800;

/// Returns the header of a file. Owner, time and mode are always the same, so that equal files make equal
/// archives. `name` has at most 100 bytes.
///
/// # Errors
/// The refusal of a longer name.
pub(super) fn header(name: &str, size: u64) -> std::io::Result<Header> {
    let mut header = if size > USTAR_SIZE_MAX { Header::new_gnu() } else { Header::new_ustar() };
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME);
    // Digits up to 8 GiB, base 256 beyond.
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_octal_as_long_as_it_fits() {
        let header = header("a", USTAR_SIZE_MAX).expect("a header");
        assert_eq!(&header.as_bytes()[124..136], b"77777777777\0");
        assert_eq!(&header.as_bytes()[257..265], b"ustar\x0000");
    }

    #[test]
    fn a_size_beyond_8_gib_is_gnu_base_256() {
        let header = header("a", 1 << 33).expect("a header");
        assert_eq!(&header.as_bytes()[124..136], &[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert_eq!(&header.as_bytes()[257..265], b"ustar  \0");
        assert_eq!(header.size().ok(), Some(1 << 33));
    }

    #[test]
    fn gnu_tar_reads_a_size_beyond_8_gib() {
        let size = (8 << 30) + 512;
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, header("a.vmdk", size).expect("a header").as_bytes())
            .expect("write");
        file.as_file().set_len(BLOCK_LEN + size + END_LEN).expect("a hole");
        let tar = std::process::Command::new("tar").arg("-tvf").arg(file.path()).output().expect("tar");
        let list = String::from_utf8(tar.stdout).expect("UTF-8");
        assert!(
            tar.status.success() && list.contains(" 8589935104 ") && list.ends_with(" a.vmdk\n"),
            "{list}"
        );
    }
}
