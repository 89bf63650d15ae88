//! The content id: what the span table says, and what the blocks' digests come to.

use std::collections::BTreeMap;

use super::Verifier;
use crate::content::span_digest;
use crate::device::BlockDevice;
use crate::digest::{Digest, block_digest};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::image::Image;
use crate::index::Digests;
use crate::limits::{BLOCK_LEN, SPAN_BLOCKS};

impl Verifier<'_> {
    /// Computes every span digest from the blocks' digests, which their chunk ids prove.
    pub(super) fn content(&mut self, image: &Image) -> Result<()> {
        let spans = match image.record.span_root().and_then(|root| spans_of(image, &root)) {
            Ok(spans) => spans,
            Err(error) => {
                self.damaged_unless_told(image.id(), 0, image.size(), error);
                return Ok(());
            }
        };
        let expected: BTreeMap<u64, Digest> = spans.into_iter().collect();
        let mut digests = Digests::new(self.shared());
        let leaf_spans = image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
        for leaf in 0..image.manifest().geometry.leaves() {
            self.step()?;
            let range = leaf * leaf_spans..(leaf + 1) * leaf_spans;
            let found = match image.slot_of(leaf).map(|_| leaf_span_digests(image, leaf, &mut digests)) {
                None if expected.range(range.clone()).next().is_none() => continue,
                None => BTreeMap::new(),
                Some(Ok(found)) => found,
                Some(Err(error)) => {
                    let leaf_len = leaf_spans * SPAN_BLOCKS * BLOCK_LEN as u64;
                    let start = leaf * leaf_len;
                    self.damaged_unless_told(image.id(), start, leaf_len.min(image.size() - start), error);
                    continue;
                }
            };
            let wrong = range.filter(|span| expected.get(span) != found.get(span)).collect::<Vec<_>>();
            for span in wrong {
                let start = span * SPAN_BLOCKS * BLOCK_LEN as u64;
                let text = |digest: Option<&Digest>| digest.map_or("zeros".into(), Digest::to_string);
                let fault =
                    Fault::ContentId { expected: text(expected.get(&span)), found: text(found.get(&span)) };
                let len = (SPAN_BLOCKS * BLOCK_LEN as u64).min(image.size() - start);
                self.damaged(Some(image.id()), start, len, Error::corrupt(image.name(), start, fault));
            }
        }
        Ok(())
    }
}

/// The digests of all spans that are not zeros, by number.
pub(super) fn spans_of(
    image: &Image,
    root: &[crate::ondisk::digest_table::Entry],
) -> Result<Vec<(u64, Digest)>> {
    let leaf_spans = image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let mut spans = Vec::new();
    for (slot, leaf) in root.iter().enumerate() {
        let page = image.record.span_page(root, slot)?;
        let base = u64::from(leaf.index) * leaf_spans;
        spans.extend(page.iter().map(|entry| (base + u64::from(entry.index), entry.digest)));
    }
    Ok(spans)
}

fn leaf_span_digests(image: &Image, leaf: u64, digests: &mut Digests) -> Result<BTreeMap<u64, Digest>> {
    let zero = block_digest(&[0; BLOCK_LEN]);
    let mut found = BTreeMap::new();
    let mut span: Vec<Option<Digest>> = Vec::with_capacity(SPAN_BLOCKS as usize);
    let mut number = leaf * image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let mut end = |span: &mut Vec<Option<Digest>>, number: &mut u64| {
        if let Some(digest) = span_digest(span) {
            found.insert(*number, digest);
        }
        *number += 1;
        span.clear();
    };
    image.for_each_piece(leaf, |piece| {
        let mut block = 0;
        while block < piece.blocks {
            match piece.source {
                // Whole spans of zeros have no digest: they are passed over.
                None if span.is_empty() && piece.blocks - block >= SPAN_BLOCKS => {
                    let spans = (piece.blocks - block) / SPAN_BLOCKS;
                    number += spans;
                    block += spans * SPAN_BLOCKS;
                    continue;
                }
                None => span.push(None),
                // A zero block that somebody stored reads as zeros like any other.
                Some((list, source)) => {
                    span.push(Some(digests.of(&list, source + block)?).filter(|digest| *digest != zero));
                }
            }
            block += 1;
            if span.len() as u64 == SPAN_BLOCKS {
                end(&mut span, &mut number);
            }
        }
        Ok(())
    })?;
    if !span.is_empty() {
        end(&mut span, &mut number);
    }
    Ok(found)
}
