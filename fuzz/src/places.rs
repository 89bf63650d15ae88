//! Structures that locate other bytes: accepted locations lie inside their bounds.

use std::io;
use std::sync::Arc;

use melv::fuzzing;
use melv::ondisk::bundle::{self, Head, ObjectKind, Table};
use melv::ondisk::frame::{self, Frame, Presence};
use melv::ondisk::list::ListRoot;
use melv::ondisk::locator::{self, FramePlace, LocatorRoot};
use melv::ondisk::pack;
use melv::storage::ReadAt;

use crate::input::Input;
use crate::seal::{self, sealed};
use crate::structures::{as_is_and_sealed, canonical};

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Memory(pub Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)?.get(..buf.len()));
        buf.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Checks roots of lists and locators, and pages of a locator: chains end and stay inside.
pub fn tables(data: &[u8]) {
    let mut input = Input(data);
    let root_len = usize::from(input.u16());
    let root = input.bytes(root_len);
    let page = input.0;
    as_is_and_sealed(root, |bytes| {
        if let Ok(root) = ListRoot::decode(bytes) {
            canonical(bytes, "list", Some(root.encode()));
            let shape = root.shape;
            assert_eq!(root.pages.len() as u64, shape.pages());
            assert_eq!(bytes.len() as u64, shape.root_len());
            assert!((1..=shape.chunk_blocks).contains(&shape.blocks_of(shape.chunks() - 1)));
            assert_eq!(shape.blocks_of(shape.chunks()), 0);
        }
        let Ok(root) = LocatorRoot::decode(bytes) else { return };
        canonical(bytes, "locator", Some(root.encode()));
        records(page, &root);
    });
}

fn records(page: &[u8], root: &LocatorRoot) {
    for number in 0..root.records.min(1024) {
        let at = number as usize * locator::RECORD_LEN;
        let Ok(place) = FramePlace::decode(page, number, root) else { continue };
        let mut encoded = Vec::new();
        place.encode(&mut encoded);
        assert_eq!(encoded, page[at..at + locator::RECORD_LEN]);
        assert!(place.is_absent() || (place.pack as usize) < root.packs.len());
        // A chain only goes upwards, so it ends.
        let mut last = number;
        let mut next = u64::from(place.next);
        while next != 0 {
            assert!(last < next && root.chunks <= next && next < root.records, "{last} to {next}");
            last = next;
            next = match FramePlace::decode(page, next, root) {
                Ok(place) if next < 1024 => u64::from(place.next),
                _ => break,
            };
        }
    }
}

/// Checks stored packs, frames and pages, and the zstd profile.
pub fn frames(data: &[u8]) {
    as_is_and_sealed(data, |bytes| {
        let _ = pack::decode_head(bytes);
        let len = bytes.len() as u64;
        let tail = &bytes[bytes.len().saturating_sub(pack::TRAILER_LEN as usize)..];
        for other in [0, u64::MAX] {
            assert!(pack::decode_trailer(tail, other).is_err(), "a pack of another length");
        }
        let Ok(trailer) = pack::decode_trailer(tail, len) else { return };
        let part = |offset: u64, len: u64| &bytes[offset as usize..(offset + len) as usize];
        let (head, index) = (part(0, pack::FRAMES_OFFSET), part(trailer.index_offset(), trailer.index_len()));
        // The head is checked separately; a valid head may differ from this writer's.
        if let Ok(records) = pack::decode_index(head, index, &trailer)
            && head == pack::encode_head()
        {
            let (encoded, id) = pack::encode_tail(&records);
            assert_eq!((&encoded[..], id), (&bytes[trailer.index_offset() as usize..], trailer.id));
        }
    });
    for blocks in [1, 2, 8, 9, 1024, u32::MAX] {
        frame(data, blocks);
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

fn frame(bytes: &[u8], blocks: u32) {
    let Ok(frame) = Frame::decode(bytes, blocks) else { return };
    let held = frame.held(blocks);
    assert!(held >= 1 && held <= blocks);
    if held <= 64 {
        let mut plain = vec![0x5a; frame::plain_len(held)];
        if frame.decode_payload(&mut plain).is_ok() {
            let mut again = vec![0xa5; plain.len()];
            assert_eq!(frame.decode_payload(&mut again), Ok(()));
            assert!(plain == again, "a part of the blocks was not written");
        }
    }
    let mut encoded = Vec::new();
    match &frame.presence {
        Presence::Whole => frame::encode_head(frame.codec, &mut encoded),
        Presence::Partial { mask, absent } => {
            assert_eq!(absent.len() as u32, blocks - held);
            frame::encode_partial_head(frame.codec, mask, absent, &mut encoded);
        }
    }
    encoded.extend_from_slice(frame.payload);
    assert_eq!(encoded, bytes);
}

/// Checks heads and tables of bundles: pieces of objects exactly fill the space between head and table.
pub fn bundle_table(data: &[u8]) {
    as_is_and_sealed(data, |bytes| {
        if let Ok(head) = Head::decode(bytes) {
            canonical(&bytes[..bundle::HEAD_LEN as usize], "bundle", Some(head.encode()));
            assert!(bundle::HEAD_LEN <= head.tail_offset && head.tail_offset <= head.table_offset);
            assert_eq!(head.table_offset + head.table_len, head.len);
        }
        // The head gives the table's offset; these stand in for it.
        for table_offset in [512, 1000, 4096, 1 << 40] {
            let Ok(table) = Table::decode(bytes, table_offset) else { continue };
            canonical(bytes, "bundle table", Some(table.encode()));
            let pieces = table.objects.iter().flat_map(|object| &object.pieces);
            assert_eq!(pieces.clone().map(|piece| piece.len).sum::<u64>(), table_offset - bundle::HEAD_LEN);
            assert!(pieces.clone().all(|piece| piece.offset + piece.len <= table_offset));
            let records = table.objects.iter().filter(|object| object.kind == ObjectKind::Record).count();
            assert_eq!(table.images().count(), records);
            assert!(table.names.iter().all(|(_, image)| (*image as usize) < records));
            for (number, object) in table.objects.iter().enumerate() {
                assert_eq!(table.find(object.kind, &object.id), Some(number));
            }
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
    if let Some((entries, found)) = fuzzing::segment(Arc::new(Memory(bytes)), key) {
        assert!(found <= entries);
        assert!(entries * 12 <= len, "{entries} entries of {len} bytes");
    }
}

/// Seals an object, for seeds.
#[must_use]
pub fn sealed_object(bytes: &[u8]) -> Vec<u8> {
    sealed(bytes)
}
