//! The generation that each extent of an image comes from.
//!
//! The depth of a guest block is the number of steps up the lineage over which its source does not change. It
//! is 0 if this image differs from its parent, and 1 if it equals its parent but not its grandparent. Only
//! ancestors in the store count. Equal leaves are recognised by their digests alone.

use super::walk::Piece;
use super::{Image, read};
use crate::error::Result;
use crate::limits::BLOCK_LEN;
use crate::store::Images;
use melv_block::{BlockDevice, DepthRun, RunKind};

/// An image and its ancestors, nearest first, as far as the store has them.
#[derive(Debug, Clone)]
pub struct Lineage(Vec<Image>);

/// The most images in a lineage; older ancestors are ignored.
const GENERATIONS_MAX: usize = 1 << 16;

impl Lineage {
    /// Collects the lineage of `image`. A missing ancestor ends it.
    ///
    /// # Errors
    /// Damage of an ancestor's record.
    pub fn of(known: &Images, image: &read::Image) -> Result<Self> {
        let mut images = vec![image.clone()];
        while let Some(last) = images.last()
            && !last.manifest().parent.is_zero()
            && images.len() < GENERATIONS_MAX
        {
            match known.image_by_id(last.manifest().parent) {
                Ok(parent) => images.push(parent),
                Err(error) if error.is_not_found() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self(images))
    }

    /// Returns the images, this one first.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.0
    }

    /// Calls `each` with every maximal run of one kind and depth, front to back.
    ///
    /// # Errors
    /// Damage of a map page, and any error of `each`.
    pub fn for_each_run(&self, mut each: impl FnMut(DepthRun) -> Result<()>) -> Result<()> {
        let Some(image) = self.0.first() else { return Ok(()) };
        let mut pending: Option<DepthRun> = None;
        for leaf in 0..image.manifest().geometry.leaves() {
            for run in self.runs_of_leaf(leaf)? {
                match &mut pending {
                    Some(last) if last.kind == run.kind && last.depth == run.depth => last.len += run.len,
                    _ => {
                        if let Some(last) = pending.replace(run) {
                            each(last)?;
                        }
                    }
                }
            }
        }
        pending.map_or(Ok(()), each)
    }

    /// Returns the runs of leaf `leaf` of the image's map, in ascending order; neighbours may be alike.
    pub fn runs_of_leaf(&self, leaf: u64) -> Result<Vec<DepthRun>> {
        let Some(image) = self.0.first() else { return Ok(Vec::new()) };
        let size = image.size();
        let mut pieces = Vec::new();
        self.leaf_pieces(leaf, &mut pieces)?;
        let run = |(piece, depth): (Piece, u32)| {
            let start = piece.start.start();
            let len = (piece.blocks * BLOCK_LEN as u64).min(size - start);
            let kind = if piece.source.is_some() { RunKind::Data } else { RunKind::Zero };
            DepthRun { start, len, kind, depth }
        };
        Ok(pieces.into_iter().map(run).collect())
    }

    /// Appends the pieces of a leaf with their depths, in ascending order.
    fn leaf_pieces(&self, leaf: u64, done: &mut Vec<(Piece, u32)>) -> Result<()> {
        let mut open = pieces_of(&self.0[0], leaf)?;
        let mut settled = Vec::new();
        let mut depth = 0;
        for pair in self.0.windows(2) {
            let [child, parent] = pair else { break };
            if child.manifest().geometry.leaf_bits() != parent.manifest().geometry.leaf_bits() {
                break;
            }
            if leaf_digest(child, leaf) != leaf_digest(parent, leaf) || leaf_digest(child, leaf).is_none() {
                let (same, changed) = split(open, &pieces_of(parent, leaf)?);
                settled.extend(changed.into_iter().map(|piece| (piece, depth)));
                open = same;
            }
            depth += 1;
        }
        settled.extend(open.into_iter().map(|piece| (piece, depth)));
        settled.sort_unstable_by_key(|(piece, _)| piece.start);
        done.append(&mut settled);
        Ok(())
    }
}

fn leaf_digest(image: &Image, leaf: u64) -> Option<crate::Digest> {
    image.slot_of(leaf).map(|slot| image.record.map_root[slot].digest)
}

fn pieces_of(image: &Image, leaf: u64) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    if leaf < image.manifest().geometry.leaves() {
        image.for_each_piece(leaf, |piece| {
            pieces.push(piece);
            Ok(())
        })?;
    }
    Ok(pieces)
}

/// Splits `pieces` into the parts whose source is the same in `others` and the rest. `others` covers its
/// range without gaps.
fn split(pieces: Vec<Piece>, others: &[Piece]) -> (Vec<Piece>, Vec<Piece>) {
    let (mut same, mut changed) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        let end = piece.start + piece.blocks;
        let mut at = others.partition_point(|other| other.start + other.blocks <= piece.start);
        while piece.blocks > 0 {
            let Some(other) = others.get(at) else {
                changed.push(piece);
                break;
            };
            let other = other.from(piece.start);
            let blocks = piece.blocks.min(other.blocks);
            let part = Piece { blocks, ..piece };
            if part.source == other.source {
                same.push(part)
            } else {
                changed.push(part)
            }
            if part.start + blocks == end {
                break;
            }
            piece = piece.from(part.start + blocks);
            at += 1;
        }
    }
    (same, changed)
}
