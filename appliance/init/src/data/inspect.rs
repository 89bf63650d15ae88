//! The meaning of a disk's bytes.

use std::ops::Range;

/// Bytes at the begin of a disk that hold the superblock of ext4.
pub const HEAD: usize = 4096;
/// Bytes of the claim at the end of a disk.
pub const TAIL: usize = 4096;
/// Bytes at the end of a disk that the file system leaves alone.
const RESERVED: u64 = 1 << 20;
/// Least disk that is formatted.
pub const LEAST: u64 = 8 << 20;

const CLAIM: &[u8; 16] = b"melv formatting\n";
const LABEL: &[u8] = b"melv-";

/// The file system of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4 {
    /// Name after `melv-`, if the label begins so.
    pub name: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// Size of a block in bytes.
    pub block: u64,
}

impl Ext4 {
    /// Reads the superblock of ext2, ext3 and ext4 (Linux, `Documentation/filesystems/ext4/super.rst`).
    pub fn parse(head: &[u8]) -> Option<Self> {
        let block = head.get(1024..2048)?;
        let number = |at: usize| Some(u32::from_le_bytes(*block.get(at..)?.first_chunk()?));
        if block[0x38..0x3a] != [0x53, 0xef] {
            return None;
        }
        let size = 1024_u64.checked_shl(number(0x18)?).filter(|size| (1024..=65536).contains(size))?;
        let wide = number(0x60)? & 0x80 != 0;
        let high = if wide { number(0x150)? } else { 0 };
        let blocks = u64::from(high) << 32 | u64::from(number(4)?);
        let label = block[0x78..0x88].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = label.strip_prefix(LABEL).and_then(|name| String::from_utf8(name.to_vec()).ok());
        Some(Self { name, bytes: blocks.checked_mul(size)?, block: size })
    }
}

/// Returns the claim on a disk for the data disk `name`.
pub fn claim(name: &str) -> [u8; TAIL] {
    let mut tail = [0; TAIL];
    tail[..16].copy_from_slice(CLAIM);
    tail[16..16 + name.len()].copy_from_slice(name.as_bytes());
    tail
}

/// Whether the last bytes of a disk are the claim for `name`.
pub fn is_claimed(tail: &[u8], name: &str) -> bool {
    tail == claim(name)
}

/// Returns the place of the claim on a disk of `size` bytes.
pub fn claim_offset(size: u64) -> u64 {
    (size / TAIL as u64).saturating_sub(1) * TAIL as u64
}

/// Returns the size in bytes of the file system on a disk of `size` bytes: whole megabytes, less the last.
pub fn file_system_size(size: u64) -> u64 {
    (size / RESERVED * RESERVED).saturating_sub(RESERVED)
}

/// Returns the blocks to grow to, if the disk has room for `SLACK` more bytes than the file system has.
///
/// Less is not worth it: `mke2fs` leaves out a last group that could not hold its own tables.
pub fn growth(file_system: &Ext4, disk: u64) -> Option<u64> {
    const SLACK: u64 = 16 << 20;
    let wanted = file_system_size(disk);
    (wanted >= file_system.bytes.checked_add(SLACK)?).then(|| wanted / file_system.block)
}

/// Disks up to this size are read whole.
const WHOLE: u64 = 64 << 20;
const ENDS: u64 = 4 << 20;
const SAMPLE: u64 = 4096;
const SAMPLES: u64 = 1024;

/// Returns the ranges of a disk of `size` bytes that must be zero on a blank one.
///
/// A larger disk is read at its ends, where tables of partitions, volumes and arrays are; at each 128 MiB, where
/// ext4 has copies of its superblock; at 64 KiB, 64 MiB and 256 GiB, those of btrfs; and at 1024 even steps.
pub fn places(size: u64) -> Vec<Range<u64>> {
    let mut places = Vec::new();
    if size <= WHOLE {
        places.push(0..size);
        return places;
    }
    places.extend([0..ENDS, size - ENDS..size]);
    let mut sample = |at: u64| {
        let at = at / SAMPLE * SAMPLE;
        if at + SAMPLE <= size {
            places.push(at..at + SAMPLE);
        }
    };
    (1..=SAMPLES).for_each(|step| sample(step * (128 << 20)));
    [64 << 20, 256 << 30].into_iter().for_each(&mut sample);
    (0..SAMPLES).for_each(|step| sample(size / SAMPLES * step));
    places.sort_by_key(|place| place.start);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::Rng;

    #[test]
    fn small_disks_are_read_whole() {
        for size in [512, WHOLE] {
            let places = places(size);
            assert!(places.len() == 1 && places[0] == (0..size));
        }
    }

    #[test]
    fn large_disks_are_read_at_the_places_of_other_formats() {
        let size = 3 << 40;
        let places = places(size);
        let read = |at: u64| places.iter().any(|place| place.contains(&at));
        // Tables of partitions, ZFS, ext4 copies at 128 MiB and 384 MiB, btrfs, md, the last block.
        for at in [
            0,
            512,
            1024,
            65536 + 64,
            128 << 20,
            384 << 20,
            64 << 20,
            256 << 30,
            size - 1,
            size - (512 << 10),
        ] {
            assert!(read(at), "{at}");
        }
        assert!(places.iter().map(|place| place.end - place.start).sum::<u64>() < 20 << 20);
    }

    #[test]
    fn places_lie_on_the_disk_and_its_blocks() {
        let mut rng = Rng(3);
        for _ in 0..300 {
            let size = (rng.next() >> rng.below(60)).max(512) / 512 * 512;
            for place in places(size) {
                assert!(
                    place.end <= size && place.start < place.end && place.start % 512 == 0,
                    "{size} {place:?}"
                );
            }
        }
    }

    #[test]
    fn a_claim_is_for_one_name() {
        assert!(is_claimed(&claim("db"), "db"));
        assert!(!is_claimed(&claim("db"), "db2"));
        assert!(!is_claimed(&[0; TAIL], "db"));
    }

    #[test]
    fn the_claim_lies_beyond_the_file_system() {
        for size in [LEAST, LEAST + 512, (8 << 30) + 4096, 1 << 50] {
            assert!(claim_offset(size) >= file_system_size(size), "{size}");
            assert!(claim_offset(size) + TAIL as u64 <= size);
        }
    }

    #[test]
    fn a_file_system_grows_when_it_is_worth_it() {
        let file_system = Ext4 { name: None, bytes: file_system_size(64 << 20), block: 4096 };
        assert_eq!(growth(&file_system, 64 << 20), None);
        assert_eq!(growth(&file_system, 70 << 20), None);
        assert_eq!(growth(&file_system, 128 << 20), Some((127 << 20) / 4096));
        assert_eq!(growth(&file_system, 32 << 20), None);
    }

    #[test]
    fn any_bytes_are_read_as_a_superblock_without_a_fault() {
        let mut rng = Rng(9);
        for _ in 0..20_000 {
            let mut head = vec![0; HEAD];
            head[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
            for _ in 0..rng.below(200) {
                head[1024 + rng.below(1024) as usize] = rng.next() as u8;
            }
            if let Some(file_system) = Ext4::parse(&head) {
                growth(&file_system, rng.next());
            }
        }
        assert_eq!(Ext4::parse(&[0; 2047]), None);
    }
}
