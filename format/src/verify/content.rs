//! Checks the content id: compares the span table with the blocks' digests.

use super::ranges::{Range, Ranges, Rest};
use super::verifier::Verifier;
use crate::content::{ContentHasher, span_digest};
use crate::digest::{BlockDigest, ContentId, Digest, block_digest};
use crate::error::{ErrorKind, Result, StoreError};
use crate::fault::RuleViolation;
use crate::image::Image;
use crate::index::Digests;
use crate::limits::{BLOCK_LEN, SPAN_BLOCKS};
use crate::ondisk::digest_table::Entry;
use melv_block::BlockDevice;

const SPAN_LEN: u64 = crate::limits::SPAN_LEN as u64;

/// The digests of a span according to the span table and the blocks; `None` for zeros.
type Said = (Option<Digest>, Option<Digest>);

impl Verifier<'_> {
    /// Computes every span digest from the blocks' digests, which their chunk ids prove, and the content
    /// id from the span table. Reads each page of the span table once. `digests` serves all images of one
    /// verify: opening it lists all logs.
    pub(super) fn content(&mut self, image: &Image, digests: &mut Digests) -> Result<()> {
        let root = match image.record.span_root() {
            Ok(root) => root,
            Err(error) => {
                self.damaged_unless_told(image.id(), 0, image.size(), error);
                return Ok(());
            }
        };
        let leaf_len = image.manifest().geometry.leaf_blocks() * BLOCK_LEN as u64;
        let mut wrong = Ranges::new();
        let mut hasher = Some(ContentHasher::new(image.size(), image.manifest().geometry.spans()));
        for leaf in 0..image.manifest().geometry.leaves() {
            self.step()?;
            let expected = span_entries(image, root, leaf);
            match (&expected, &mut hasher) {
                (Ok(entries), Some(hasher)) => {
                    entries.iter().for_each(|(number, digest)| hasher.span(*number, digest));
                }
                _ => hasher = None,
            }
            match expected.and_then(|expected| self.leaf_content(image, leaf, expected, digests, &mut wrong))
            {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    let start = leaf * leaf_len;
                    self.damaged_unless_told(image.id(), start, leaf_len.min(image.size() - start), error);
                }
            }
        }
        self.wrong_spans(image, wrong);
        if let Some(hasher) = hasher {
            self.content_id(image, &hasher.finish());
        }
        Ok(())
    }

    /// Checks the span table's content id against the manifest.
    pub(super) fn content_id(&mut self, image: &Image, found: &ContentId) {
        let expected = &image.manifest().content;
        if found != expected {
            let fault = RuleViolation::ContentId { expected: expected.to_string(), found: found.to_string() };
            self.damaged(Some(image.id()), 0, image.size(), StoreError::corrupt(image.name(), 0, fault));
        }
    }

    /// Compares the spans of a leaf range with the span table.
    fn leaf_content(
        &self,
        image: &Image,
        leaf: u64,
        expected: Vec<(u64, Digest)>,
        digests: &mut Digests,
        wrong: &mut Ranges<Said>,
    ) -> Result<()> {
        let mut tell = |number: u64, said| {
            let start = number * SPAN_LEN;
            wrong.add(start, SPAN_LEN.min(image.size() - start), said);
        };
        let mut expected = expected.into_iter().peekable();
        if image.slot_of(leaf).is_some() {
            for_each_span(image, leaf, digests, |number, found| {
                self.check_cancel()?;
                while let Some((before, digest)) = expected.next_if(|(before, _)| *before < number) {
                    tell(before, (Some(digest), None));
                }
                let said = expected.next_if(|(other, _)| *other == number).map(|(_, digest)| digest);
                if said != Some(found) {
                    tell(number, (said, Some(found)));
                }
                Ok(())
            })?;
        }
        expected.for_each(|(number, digest)| tell(number, (Some(digest), None)));
        Ok(())
    }

    fn wrong_spans(&mut self, image: &Image, wrong: Ranges<Said>) {
        let text = |digest: Option<Digest>| digest.map_or("zeros".into(), |digest| digest.to_string());
        let (wrong, rest) = wrong.finish();
        for Range { start, len, what: (expected, found) } in wrong {
            let fault = RuleViolation::ContentId { expected: text(expected), found: text(found) };
            self.damaged(Some(image.id()), start, len, StoreError::corrupt(image.name(), start, fault));
        }
        if let Some(Rest { start, end, ranges, first: (expected, found), .. }) = rest {
            let found = format!("another in {ranges} further ranges, at first {}", text(found));
            let fault = RuleViolation::ContentId { expected: text(expected), found };
            self.damaged(
                Some(image.id()),
                start,
                end - start,
                StoreError::corrupt(image.name(), start, fault),
            );
        }
    }
}

/// Returns the numbers and digests of a leaf's nonzero spans, from the span table.
fn span_entries(image: &Image, root: &[Entry], leaf: u64) -> Result<Vec<(u64, Digest)>> {
    let Ok(slot) = root.binary_search_by(|entry| u64::from(entry.index).cmp(&leaf)) else {
        return Ok(Vec::new());
    };
    let first = leaf * image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let page = image.record.span_page(root, slot)?;
    Ok(page.iter().map(|entry| (first + u64::from(entry.index), entry.digest)).collect())
}

/// Calls `each` for each leaf range with nonzero spans, with its first span number and its span page.
pub(super) fn for_each_span_page(
    image: &Image,
    mut each: impl FnMut(u64, &[Entry]) -> Result<()>,
) -> Result<()> {
    let leaf_spans = image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let root = image.record.span_root()?;
    for (slot, leaf) in root.iter().enumerate() {
        each(u64::from(leaf.index) * leaf_spans, &image.record.span_page(root, slot)?)?;
    }
    Ok(())
}

/// Calls `each` with the numbers and digests of the nonzero spans of a leaf.
fn for_each_span(
    image: &Image,
    leaf: u64,
    digests: &mut Digests,
    mut each: impl FnMut(u64, Digest) -> Result<()>,
) -> Result<()> {
    let zero = block_digest(&[0; BLOCK_LEN]);
    let mut span: Vec<Option<BlockDigest>> = Vec::with_capacity(SPAN_BLOCKS as usize);
    let mut number = leaf * image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let mut end = |span: &mut Vec<Option<BlockDigest>>, number: &mut u64| {
        let digest = span_digest(span);
        span.clear();
        *number += 1;
        digest.map_or(Ok(()), |digest| each(*number - 1, digest))
    };
    image.for_each_piece(leaf, |piece| {
        let mut block = 0;
        while block < piece.blocks {
            match piece.source {
                // Whole spans of zeros have no digest and are skipped.
                None if span.is_empty() && piece.blocks - block >= SPAN_BLOCKS => {
                    let spans = (piece.blocks - block) / SPAN_BLOCKS;
                    number += spans;
                    block += spans * SPAN_BLOCKS;
                    continue;
                }
                None => span.push(None),
                // A stored zero block reads as zeros like any other.
                Some((list, source)) => {
                    span.push(Some(digests.of(&list, source + block)?).filter(|digest| *digest != zero));
                }
            }
            block += 1;
            if span.len() as u64 == SPAN_BLOCKS {
                end(&mut span, &mut number)?;
            }
        }
        Ok(())
    })?;
    if !span.is_empty() {
        end(&mut span, &mut number)?;
    }
    Ok(())
}
