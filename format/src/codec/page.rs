//! The stored form of map and span pages: the page itself, or one zstd frame if that is smaller (spec section
//! 7.5). The first bytes tell them apart: every page begins with `melv`. A page's digest covers the page
//! itself and thus does not depend on the stored form.

use std::borrow::Cow;
use std::io;

use super::{profile, zstd};
use crate::fault::RuleViolation;
use crate::limits::PAGE_LEN_MAX;

/// The zstd level: high, since pages are few, small, and read far more often than written.
const LEVEL: i32 = 12;

/// Encodes a page into its stored form.
///
/// # Errors
/// Fails if zstd runs out of memory.
pub(crate) fn encode(page: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    let mut packed = Vec::new();
    zstd::encode(page, LEVEL, &mut packed)?;
    Ok(if packed.len() < page.len() { Cow::Owned(packed) } else { Cow::Borrowed(page) })
}

/// Decodes a page from its stored form.
pub(crate) fn decode(stored: &[u8]) -> Result<Cow<'_, [u8]>, RuleViolation> {
    if !stored.starts_with(&profile::MAGIC) {
        return Ok(Cow::Borrowed(stored));
    }
    let len = profile::content_len(stored)?;
    if len > PAGE_LEN_MAX {
        return Err(RuleViolation::Limit { what: "page length", found: len, max: PAGE_LEN_MAX });
    }
    let mut page = vec![0; len as usize];
    profile::check(stored, page.len())?;
    zstd::decode(stored, &mut page)?;
    Ok(Cow::Owned(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_survives_whichever_way_it_is_stored() {
        let noise: Vec<u8> =
            (0..64u32).flat_map(|n| *crate::digest::block_digest(&n.to_le_bytes()).as_bytes()).collect();
        for page in [b"melvmapl, and again, and again, and again, and again".to_vec(), noise, vec![]] {
            let stored = encode(&page).unwrap();
            assert!(stored.len() <= page.len());
            assert_eq!(decode(&stored).unwrap(), page);
        }
    }

    #[test]
    fn a_page_that_says_it_is_huge_is_refused_before_it_is_made() {
        let bomb = ::zstd::bulk::compress(&vec![0; PAGE_LEN_MAX as usize + 1], 3).unwrap();
        assert!(matches!(decode(&bomb), Err(RuleViolation::Limit { .. })));
    }
}
