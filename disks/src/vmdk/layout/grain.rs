//! Inflates compressed grains. Only this module and the writer use `flate2`.
//!
//! Grains are zlib streams (RFC 1950), although VMware's note speaks of RFC 1951: libyal, *VMWare
//! Virtual Disk Format (VMDK)*, "Grain data"; every sample seen begins with 78.

use flate2::{Decompress, FlushDecompress, Status};

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::GRAIN_HEAD_LEN;
use crate::vmdk::layout::marker::Marker;

/// The maximum length of the scratch buffer that a decoder keeps between grains.
const KEPT_LEN_MAX: usize = 1 << 20;

/// A reusable decoder.
pub(crate) struct Inflater {
    zlib: Decompress,
    /// Scratch space for a grain of which only the beginning is wanted.
    whole: Vec<u8>,
}

/// The result of one decoder run.
struct Inflated {
    consumed: usize,
    produced: usize,
    ended: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { zlib: Decompress::new(true), whole: Vec::new() }
    }
}

impl Inflater {
    /// Inflates a grain preceded by its sector and length. `room` extends to the next grain or the
    /// end of the file. `out` is the same as for [`Inflater::inflate`].
    ///
    /// # Errors
    /// A sector other than `lba`, a length of 0 or beyond `room`, and the errors of
    /// [`Inflater::inflate`].
    pub fn inflate_marked(
        &mut self,
        room: &[u8],
        lba: u64,
        grain_bytes: u64,
        out: &mut [u8],
    ) -> Result<(), VmdkViolation> {
        let needed = GRAIN_HEAD_LEN;
        let cut = || VmdkViolation::Truncated { needed, found: room.len() as u64 };
        let (found, len) = Marker::grain_head(room).ok_or_else(cut)?;
        if found != lba {
            let what = "the sector in the marker of a grain";
            return Err(VmdkViolation::Disagree { what, found, expected: lba, by: "the grain table" });
        }
        let room = &room[GRAIN_HEAD_LEN as usize..];
        match room.get(..len as usize) {
            Some(stored) if len != 0 => self.inflate(stored, true, lba, grain_bytes, out),
            _ => Err(VmdkViolation::Value {
                what: "the length in the marker of a grain",
                found: u64::from(len),
                expected: "1 to twice the grain, before the next grain and the end of the file",
            }),
        }
    }

    /// Inflates a grain of `grain_bytes` into `out`, which is shorter if the disk ends inside the
    /// grain. The stream may then hold either length, because writers produce both. With
    /// `is_exact`, only zeros may follow the zlib stream in `stored`.
    ///
    /// # Errors
    /// [`VmdkViolation::Inflate`] and [`VmdkViolation::GrainLen`].
    pub fn inflate(
        &mut self,
        stored: &[u8],
        is_exact: bool,
        lba: u64,
        grain_bytes: u64,
        out: &mut [u8],
    ) -> Result<(), VmdkViolation> {
        let expected = out.len();
        let inflated = if expected as u64 == grain_bytes {
            run(&mut self.zlib, stored, out, lba)?
        } else {
            let mut whole = std::mem::take(&mut self.whole);
            whole.resize(grain_bytes as usize, 0);
            let inflated = run(&mut self.zlib, stored, &mut whole, lba)?;
            let kept = expected.min(inflated.produced);
            out[..kept].copy_from_slice(&whole[..kept]);
            if whole.len() <= KEPT_LEN_MAX {
                self.whole = whole;
            }
            inflated
        };
        let found = inflated.produced;
        if !inflated.ended {
            // Either the output is full or the input is used up.
            return Err(if self.goes_on(stored, inflated.consumed) {
                VmdkViolation::GrainLen { lba, found: found as u64 + 1, expected: expected as u64 }
            } else {
                VmdkViolation::Inflate { lba, why: "it is cut off" }
            });
        }
        if found != expected && found as u64 != grain_bytes {
            return Err(VmdkViolation::GrainLen { lba, found: found as u64, expected: expected as u64 });
        }
        if is_exact && stored[inflated.consumed..].iter().any(|&byte| byte != 0) {
            return Err(VmdkViolation::Inflate { lba, why: "bytes follow its end" });
        }
        Ok(())
    }

    /// Whether a decoder with a full output buffer still has output.
    fn goes_on(&mut self, stored: &[u8], consumed: usize) -> bool {
        let before = self.zlib.total_out();
        let more = self.zlib.decompress(&stored[consumed..], &mut [0], FlushDecompress::Finish);
        more.is_ok() && self.zlib.total_out() > before
    }
}

fn run(zlib: &mut Decompress, stored: &[u8], out: &mut [u8], lba: u64) -> Result<Inflated, VmdkViolation> {
    zlib.reset(true);
    let status = zlib
        .decompress(stored, out, FlushDecompress::Finish)
        .map_err(|_| VmdkViolation::Inflate { lba, why: "the decoder found an error in it" })?;
    Ok(Inflated {
        consumed: zlib.total_in() as usize,
        produced: zlib.total_out() as usize,
        ended: status == Status::StreamEnd,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn deflate(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_grain_has_exactly_its_length_or_is_refused() {
        let grain: Vec<u8> = (0..65536u32).map(|n| ((n * n) >> 7) as u8).collect();
        let mut inflater = Inflater::default();
        let mut out = vec![0; 65536];
        let mut check = |stored: &[u8], len: usize| {
            out.fill(0);
            inflater.inflate(stored, true, 128, 65536, &mut out[..len]).map(|()| out[..len] == grain[..len])
        };
        for level in [0, 1, 6, 9] {
            let whole = deflate(&grain, level);
            assert_eq!(check(&whole, 65536), Ok(true));
            assert_eq!(check(&whole, 512), Ok(true), "the last grain may be stored whole");
            assert_eq!(check(&deflate(&grain[..512], level), 512), Ok(true));
            assert_eq!(check(&[&whole[..], &[0; 3]].concat(), 65536), Ok(true));
            let (short, long) =
                (deflate(&grain[..65535], level), deflate(&[&grain[..], &[1]].concat(), level));
            let len = |found| Err(VmdkViolation::GrainLen { lba: 128, found, expected: 65536 });
            assert_eq!(check(&short, 65536), len(65535));
            assert_eq!(check(&long, 65536), len(65537));
            let two = deflate(&grain[..1024], level);
            assert_eq!(
                check(&two, 512),
                Err(VmdkViolation::GrainLen { lba: 128, found: 1024, expected: 512 })
            );
            for end in [0, 1, whole.len() / 2, whole.len() - 1] {
                assert!(
                    matches!(check(&whole[..end], 65536), Err(VmdkViolation::Inflate { .. })),
                    "{level} {end}"
                );
            }
            let longer = [&whole[..], &[0, 1]].concat();
            assert!(matches!(check(&longer, 65536), Err(VmdkViolation::Inflate { .. })));
        }
    }
}
