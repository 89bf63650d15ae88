//! Structures that locate other bytes: accepted locations lie inside their bounds.

use std::sync::Arc;

use melv::fuzzing;
use melv::ondisk::frame;
use melv::storage::BytesObject;
use melv_testing::seal::{self, sealed};
use melv_testing::structures;

use crate::input::Input;
use crate::structures::as_is_and_sealed;

/// Checks roots of lists and locators, and pages of a locator: chains end and stay inside.
pub fn tables(data: &[u8]) {
    let mut input = Input(data);
    let root_len = usize::from(input.u16());
    let root = input.bytes(root_len);
    let page = input.0;
    as_is_and_sealed(root, |bytes| {
        structures::list(bytes);
        if let Some(root) = structures::locator(bytes) {
            structures::locator_page(page, &root);
        }
    });
}

/// Checks stored packs, frames and pages, and the zstd profile.
pub fn frames(data: &[u8]) {
    as_is_and_sealed(data, structures::pack);
    for blocks in [1, 2, 8, 9, 1024, u32::MAX] {
        structures::frame(data, blocks);
    }
    if let Ok(page) = fuzzing::page_decode(data) {
        // melv does not write a page that begins with the zstd magic.
        let stored = fuzzing::page_encode(&page).expect("memory for zstd");
        if !page.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            assert_eq!(fuzzing::page_decode(&stored).as_deref(), Ok(&page[..]));
        }
    }
    for blocks in [1, 8] {
        let mut plain = vec![0; frame::plain_len(blocks)];
        let _ = fuzzing::zstd_decode(data, &mut plain);
    }
}

/// Checks heads and tables of bundles: pieces of objects exactly fill the space between head and table.
pub fn bundle_table(data: &[u8]) {
    as_is_and_sealed(data, |bytes| {
        structures::bundle_head(bytes);
        // The head gives the table's offset; these stand in for it.
        for table_offset in [512, 1000, 4096, 1 << 40] {
            structures::bundle_table(bytes, table_offset);
        }
    });
}

/// Checks segments of the block index: one that opens finds every key it lists, unless a page is damaged.
pub fn segment(data: &[u8]) {
    let mut input = Input(data);
    let is_sealed = input.u8() % 2 == 0;
    let key = input.u64() >> 16;
    let mut bytes = input.0.to_vec();
    if is_sealed {
        seal::segment(&mut bytes);
    }
    let len = bytes.len();
    if let Some((entries, found)) = fuzzing::segment(Arc::new(BytesObject::from(bytes)), key) {
        assert!(found <= entries);
        assert!(entries * 12 <= len, "{entries} entries of {len} bytes");
    }
}

/// Seals an object, for seeds.
#[must_use]
pub fn sealed_object(bytes: &[u8]) -> Vec<u8> {
    sealed(bytes)
}
