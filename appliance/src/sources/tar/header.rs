//! A header block: bytes to value, pure.
//!
//! Layout: POSIX.1-2017, `pax`, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format".

use super::{
    error::TarFault,
    number,
    sparse::{self, Range},
};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 512;

/// One block.
pub type Block = [u8; BLOCK_BYTES];

/// Facts of one header, before its extensions are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Type.
    pub flag: u8,
    /// Path.
    pub path: Vec<u8>,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Permission bits, `0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes that follow, without padding.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// The part of a sparse file's header that is GNU's alone.
    pub sparse: Option<OldSparse>,
}

/// GNU's old form of a sparse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSparse {
    /// Size with the holes.
    pub real_size: u64,
    /// The first ranges.
    pub ranges: Vec<Range>,
    /// Whether a block with more ranges follows.
    pub extended: bool,
}

/// Parses a header whose block is not all zeros.
pub fn parse(block: &Block) -> Result<Header, TarFault> {
    check_sum(block)?;
    let flag = block[156];
    let gnu = &block[257..265] == b"ustar  \0";
    let ustar = &block[257..263] == b"ustar\0";
    let mut path = text(&block[..100]).to_vec();
    let prefix = text(&block[345..500]);
    if ustar && !prefix.is_empty() {
        path = [prefix, b"/", &path].concat();
    }
    let number = |range: std::ops::Range<usize>, field| {
        let value = number::signed(&block[range]).ok_or(TarFault::Number { field })?;
        u64::try_from(value).map_err(|_| TarFault::Number { field })
    };
    let id = |range, field| u32::try_from(number(range, field)?).map_err(|_| TarFault::Number { field });
    let sparse = if flag == b'S' {
        if !gnu {
            return Err(TarFault::UnknownType(flag));
        }
        Some(OldSparse {
            real_size: number(483..495, "realsize")?,
            ranges: sparse::old_ranges(&block[386..482])?,
            extended: block[482] != 0,
        })
    } else {
        None
    };
    Ok(Header {
        flag,
        path,
        link: text(&block[157..257]).to_vec(),
        mode: (number(100..108, "mode")? & 0o7777) as u16,
        uid: id(108..116, "uid")?,
        gid: id(116..124, "gid")?,
        size: number(124..136, "size")?,
        mtime: number::signed(&block[136..148]).ok_or(TarFault::Number { field: "mtime" })?,
        sparse,
    })
}

/// Checks the sum of the bytes, with the sum's own field as spaces. Old programs summed signed bytes.
fn check_sum(block: &Block) -> Result<(), TarFault> {
    let found = number::signed(&block[148..156]).ok_or(TarFault::Number { field: "chksum" })?;
    let (mut unsigned_sum, mut signed_sum) = (0i64, 0i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned_sum += i64::from(byte);
        signed_sum += i64::from(byte.cast_signed());
    }
    if found == unsigned_sum || found == signed_sum {
        return Ok(());
    }
    Err(TarFault::Checksum { found: found.unsigned_abs(), computed: unsigned_sum.unsigned_abs() })
}

/// Returns the bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_block_gives_a_header_or_a_fault() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            let mut block = [0; BLOCK_BYTES];
            for byte in &mut block {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 56) as u8;
            }
            assert!(parse(&block).is_err());
        }
    }
}
