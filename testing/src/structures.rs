//! Promises of the decoders, for any bytes: accepted bytes are the only encoding of their value, and accepted
//! locations lie inside their bounds.

use melv_format::ondisk::bundle::{self, Head, ObjectKind, Table};
use melv_format::ondisk::cursor::Cursor;
use melv_format::ondisk::digest_table;
use melv_format::ondisk::frame::{self, Frame, Presence};
use melv_format::ondisk::header::{self, HEADER_LEN, Kind};
use melv_format::ondisk::list::ListRoot;
use melv_format::ondisk::locator::{self, FramePlace, LocatorRoot};
use melv_format::ondisk::manifest::Manifest;
use melv_format::ondisk::map_leaf::MapLeaf;
use melv_format::ondisk::pack;
use melv_format::ondisk::record::{self, HEAD_LEN, Places, RecordHead};
use melv_format::ondisk::reference::Reference;
use melv_format::ondisk::store_header;

/// All kinds of objects.
pub const KINDS: [Kind; 14] = [
    Kind::Bundle,
    Kind::BundleTable,
    Kind::Store,
    Kind::Reference,
    Kind::Manifest,
    Kind::Record,
    Kind::MapRoot,
    Kind::MapLeaf,
    Kind::SpanRoot,
    Kind::SpanPage,
    Kind::List,
    Kind::Locator,
    Kind::Pack,
    Kind::PageFile,
];
/// The name of the references that [`objects`] accepts.
pub const NAME: &str = "web:latest";
/// Records in a page of a locator.
const PAGE_RECORDS: u64 = 1024;

/// Checks an encoder against its decoder. Minor version, ignore mask and a store's writer mask may have any
/// value; writers of this version leave them zero.
pub fn canonical(bytes: &[u8], what: &str, encoded: Option<Vec<u8>>) {
    let Some(encoded) = encoded else { return };
    let is_of_this_version =
        bytes[9] == 0 && bytes[16..20] == [0; 4] && (what != "store" || bytes[20..24] == [0; 4]);
    if is_of_this_version {
        assert_eq!(encoded, bytes, "{what}: two encodings of one value");
    }
}

/// Checks headers of all kinds, the store's header, references, and the three kinds of digest tables.
pub fn objects(bytes: &[u8]) {
    for kind in KINDS {
        let mut cursor = Cursor::new(bytes);
        if header::decode(kind, &mut cursor).is_ok() {
            assert_eq!(cursor.position(), HEADER_LEN);
        }
    }
    let whole = KINDS.iter().filter(|kind| header::decode_whole(**kind, bytes).is_ok()).count();
    assert!(whole <= 1, "an object of two kinds");
    canonical(bytes, "store", store_header::decode(bytes).ok().map(|_| store_header::encode()));
    let reference = Reference::decode(bytes, NAME).ok();
    assert!(reference.as_ref().is_none_or(|reference| reference.name == NAME));
    canonical(bytes, "reference", reference.map(|reference| reference.encode()));
    for kind in [Kind::MapRoot, Kind::SpanRoot, Kind::SpanPage] {
        let entries = digest_table::decode(kind, bytes, 256).ok();
        if let Some(entries) = &entries {
            assert!(entries.windows(2).all(|pair| pair[0].index < pair[1].index));
            assert!(entries.iter().all(|entry| entry.index < 256));
        }
        canonical(bytes, "table", entries.map(|entries| digest_table::encode(kind, &entries)));
    }
}

/// Checks manifests.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert!(manifest.lists.windows(2).all(|pair| pair[0].id < pair[1].id), "lists in order");
    let geometry = &manifest.geometry;
    assert!(geometry.size_bytes < 1 << 63 && geometry.size_bytes.is_multiple_of(512), "{geometry:?}");
    assert!(manifest.data_blocks <= geometry.size_bytes.div_ceil(4096), "{manifest:?}");
    canonical(bytes, "manifest", Some(manifest.encode()));
}

/// Checks manifest records, head and places: all parts that a record's head describes lie inside the record.
pub fn record(bytes: &[u8]) {
    let len = bytes.len() as u64;
    for other in [0, u64::MAX] {
        assert!(RecordHead::decode(bytes, other).is_err(), "a record of another length");
    }
    let Ok(head) = RecordHead::decode(bytes, len) else { return };
    let part = |offset: u64, len: u64| &bytes[offset as usize..(offset + len) as usize];
    let coded = part(head.places_offset(), head.places_len());
    let roots = [
        part(HEAD_LEN, u64::from(head.manifest_len)),
        part(head.map_root_offset(), u64::from(head.map_root_len)),
        part(head.span_root_offset(), u64::from(head.span_root_len)),
    ];
    for has_base in [false, true] {
        let Ok(places) = Places::decode(coded, bytes, &head, has_base) else { continue };
        assert_eq!(places.map.len(), head.map_pages as usize);
        assert_eq!(places.span.len(), head.span_pages as usize);
        let [manifest, map_root, span_root] = roots;
        let encoded = record::encode(manifest, &places, map_root, span_root);
        canonical(bytes, "record", Some(encoded));
    }
}

/// Checks map leaves, and returns the leaf if it is accepted.
pub fn map_leaf(bytes: &[u8], leaf_blocks: u64) -> Option<MapLeaf> {
    let leaf = MapLeaf::decode(bytes, leaf_blocks).ok()?;
    canonical(bytes, "leaf", Some(leaf.encode()));
    Some(leaf)
}

/// Checks roots of chunk lists.
pub fn list(bytes: &[u8]) {
    let Ok(root) = ListRoot::decode(bytes) else { return };
    canonical(bytes, "list", Some(root.encode()));
    let shape = root.shape;
    assert_eq!(root.pages.len() as u64, shape.pages());
    assert_eq!(bytes.len() as u64, shape.root_len());
    assert!((1..=shape.chunk_blocks).contains(&shape.blocks_of(shape.chunks() - 1)));
    assert_eq!(shape.blocks_of(shape.chunks()), 0);
}

/// Checks roots of locators, and returns the root if it is accepted.
pub fn locator(bytes: &[u8]) -> Option<LocatorRoot> {
    let root = LocatorRoot::decode(bytes).ok()?;
    canonical(bytes, "locator", Some(root.encode()));
    Some(root)
}

/// Checks the records in a page of a locator: chains end and stay inside.
pub fn locator_page(page: &[u8], root: &LocatorRoot) {
    let first = 0..root.records.min(PAGE_RECORDS);
    for number in first.chain([1, 5, PAGE_RECORDS - 1, PAGE_RECORDS, u64::MAX]) {
        let at = (number % PAGE_RECORDS) as usize * locator::RECORD_LEN;
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
                Ok(place) if next < PAGE_RECORDS => u64::from(place.next),
                _ => break,
            };
        }
    }
}

/// Checks heads, indexes and trailers of packs.
pub fn pack(bytes: &[u8]) {
    let _ = pack::decode_head(bytes);
    let len = bytes.len() as u64;
    let tail = &bytes[bytes.len().saturating_sub(pack::TRAILER_LEN as usize)..];
    for other in [0, u64::MAX] {
        assert!(pack::decode_trailer(tail, other).is_err(), "a pack of another length");
    }
    for len in [len, 0, u64::MAX] {
        let _ = pack::decode_trailer(bytes, len);
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
}

/// Checks a frame of up to `blocks` blocks: its head has one encoding, and decoding writes every byte.
pub fn frame(bytes: &[u8], blocks: u32) {
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
    } else if held <= 1024 {
        let _ = frame.decode_payload(&mut vec![0; frame::plain_len(held)]);
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

/// Checks heads of bundles.
pub fn bundle_head(bytes: &[u8]) {
    let Ok(head) = Head::decode(bytes) else { return };
    canonical(&bytes[..bundle::HEAD_LEN as usize], "bundle", Some(head.encode()));
    assert!(bundle::HEAD_LEN <= head.tail_offset && head.tail_offset <= head.table_offset);
    assert_eq!(head.table_offset + head.table_len, head.len);
}

/// Checks tables of bundles: pieces of objects exactly fill the space between head and table.
pub fn bundle_table(bytes: &[u8], table_offset: u64) {
    let Ok(table) = Table::decode(bytes, table_offset) else { return };
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
