//! Every vector through the library's public parsers.

use std::collections::BTreeMap;

use melv::content::{ContentHasher, span_digest};
use melv::digest::{
    BlockDigest, ContentId, ImageId, ListId, PackId, block_digest, chunk_id, object_digest, page_digest,
};
use melv::fault::RuleViolation;
use melv::limits::BLOCK_LEN;
use melv::ondisk::bundle::{Head, Table};
use melv::ondisk::digest_table::{self, Entry};
use melv::ondisk::frame::{self, Frame, Presence};
use melv::ondisk::header::Kind;
use melv::ondisk::list::ListRoot;
use melv::ondisk::locator::{FramePlace, LocatorRoot};
use melv::ondisk::manifest::Manifest;
use melv::ondisk::map_leaf::MapLeaf;
use melv::ondisk::record::{HEAD_LEN, Places, RecordHead};
use melv::ondisk::reference::Reference;
use melv::ondisk::{pack, store_header};
use melv::storage::BytesObject;
use melv::{
    BlockDevice, BlockError, Bundle, BundleOptions, Digest, Error, Images, MemoryStorage, Store, StoreError,
    StoreOptions, VerifyMode, VerifyOptions,
};

use super::build::guard_text;
use super::table::{Content, Values, Vector};

/// Returns the values in a vector, or the rule that it breaks.
pub fn parse(vector: &Vector) -> Result<Values, String> {
    match &vector.content {
        Content::File(bytes) if vector.kind == "bundle" => bundle(vector, bytes),
        Content::File(bytes) => file(vector, bytes).map_err(|fault| fault.rule().to_owned()),
        Content::Folder(files) => folder(vector, files),
    }
}

fn file(vector: &Vector, bytes: &[u8]) -> Result<Values, RuleViolation> {
    match vector.kind {
        "store-header" => {
            let header = store_header::decode(bytes)?;
            Ok(vec![("writer_mask", u64::from(header.writer_mask).into())])
        }
        "reference" => {
            let found = Reference::decode(bytes, vector.text("name"))?;
            Ok(vec![("image", found.image.into()), ("created_seconds", found.created_seconds.into())])
        }
        "manifest" => Manifest::decode(bytes).map(|manifest| manifest_values(&manifest)),
        "record" => record(bytes, vector.id("image")),
        "map-root" => table(Kind::MapRoot, vector, bytes),
        "span-root" => table(Kind::SpanRoot, vector, bytes),
        "span-page" => table(Kind::SpanPage, vector, bytes),
        "map-leaf" => MapLeaf::decode(bytes, vector.number("leaf_blocks")).map(|leaf| leaf_values(&leaf)),
        "list-root" => ListRoot::decode(bytes).map(|root| list_values(&root)),
        "list" => list(bytes),
        "locator-root" => LocatorRoot::decode(bytes).map(|root| locator_values(&root)),
        "locator-page" => locator_page(vector, bytes),
        "locator" => locator(bytes),
        "pack" => whole_pack(bytes),
        "frame" => whole_frame(vector, bytes),
        "disk" => Ok(vec![("content", content_of(bytes).into())]),
        "bundle-head" => bundle_head(bytes, vector.number("len")),
        "bundle-table" => {
            Table::decode(bytes, vector.number("table_offset")).map(|table| table_values(&table))
        }
        // No parser of this version knows these: each refuses them by their magic.
        "signature" | "trace" => store_header::decode(bytes).map(|_| Values::new()),
        other => panic!("{}: no parser for {other}", vector.file),
    }
}

fn manifest_values(manifest: &Manifest) -> Values {
    let geometry = &manifest.geometry;
    let text = |(key, value): (&String, &String)| format!("{key}={value}");
    let metadata: Vec<_> = manifest.metadata.iter().map(text).collect();
    vec![
        ("size_bytes", geometry.size_bytes.into()),
        ("logical_bits", u64::from(geometry.logical_bits).into()),
        ("physical_bits", u64::from(geometry.physical_bits).into()),
        ("leaf_bits", u64::from(geometry.leaf_bits()).into()),
        ("data_blocks", manifest.data_blocks.into()),
        ("content", manifest.content.into()),
        ("lists", (manifest.lists.len() as u64).into()),
        ("metadata", metadata.join(";").as_str().into()),
        ("id", object_digest(&manifest.encode()).into()),
    ]
}

fn found_under(expected: Digest, bytes: &[u8]) -> Result<(), RuleViolation> {
    let found = object_digest(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(RuleViolation::PageDigest { expected: expected.to_string(), found: found.to_string() })
    }
}

fn record(bytes: &[u8], image: ImageId) -> Result<Values, RuleViolation> {
    let head = RecordHead::decode(bytes, bytes.len() as u64)?;
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let manifest_bytes = &bytes[at(HEAD_LEN)..at(head.places_offset())];
    found_under(image.digest(), manifest_bytes)?;
    let manifest = Manifest::decode(manifest_bytes)?;
    let places = &bytes[at(head.places_offset())..at(head.map_root_offset())];
    let places = Places::decode(places, bytes, &head, false)?;
    let (map_root, span_root) = bytes[at(head.map_root_offset())..].split_at(head.map_root_len as usize);
    found_under(manifest.map_root, map_root)?;
    found_under(manifest.span_root, span_root)?;
    let leaves = digest_table::decode(Kind::MapRoot, map_root, manifest.geometry.leaves())?;
    let pages = digest_table::decode(Kind::SpanRoot, span_root, manifest.geometry.leaves())?;
    assert_eq!((leaves.len(), pages.len()), (places.map.len(), places.span.len()));
    let place = |place: Option<&melv::ondisk::record::PagePlace>| {
        place.map_or(String::new(), |place| format!("{}:{}+{}", place.file, place.offset, place.len))
    };
    Ok(vec![
        ("content", manifest.content.into()),
        ("files", (places.files.len() as u64).into()),
        ("map_place", place(places.map.first()).as_str().into()),
        ("span_place", place(places.span.first()).as_str().into()),
    ])
}

fn table(kind: Kind, vector: &Vector, bytes: &[u8]) -> Result<Values, RuleViolation> {
    let entries = digest_table::decode(kind, bytes, vector.number("index_max"))?;
    let one = |entry: &Entry| format!("{}:{}", entry.index, entry.digest);
    let text = entries.iter().map(one).collect::<Vec<_>>().join(" ");
    Ok(vec![("entries", text.as_str().into())])
}

fn leaf_values(leaf: &MapLeaf) -> Values {
    let one = |extent: &melv::ondisk::map_leaf::Extent| {
        format!("{}+{}={}:{}", extent.start, extent.blocks, extent.list, extent.source)
    };
    let text = leaf.extents.iter().map(one).collect::<Vec<_>>().join(" ");
    vec![("lists", (leaf.lists.len() as u64).into()), ("extents", text.as_str().into())]
}

fn list_values(root: &ListRoot) -> Values {
    vec![
        ("chunk_blocks", u64::from(root.shape.chunk_blocks).into()),
        ("blocks", root.shape.blocks.into()),
        ("pages", (root.pages.len() as u64).into()),
    ]
}

/// Splits a table's file by the length at its end.
fn split_table(bytes: &[u8]) -> Result<(&[u8], &[u8]), RuleViolation> {
    let found = bytes.len() as u64;
    let (rest, len) = bytes.split_last_chunk::<8>().ok_or(RuleViolation::Truncated { needed: 8, found })?;
    let len = usize::try_from(u64::from_le_bytes(*len)).unwrap();
    let start = rest.len().checked_sub(len).ok_or(RuleViolation::Truncated { needed: len as u64, found })?;
    Ok(rest.split_at(start))
}

fn check_pages(pages: &[u8], page_len: usize, digests: &[Digest]) -> Result<(), RuleViolation> {
    let found: Vec<_> = pages.chunks(page_len).map(page_digest).collect();
    if found == digests {
        Ok(())
    } else {
        Err(RuleViolation::PageDigest { expected: String::new(), found: String::new() })
    }
}

fn list(bytes: &[u8]) -> Result<Values, RuleViolation> {
    let (pages, root_bytes) = split_table(bytes)?;
    let root = ListRoot::decode(root_bytes)?;
    if root.shape.file_len() != bytes.len() as u64 {
        return Err(RuleViolation::BodyLength { declared: root.shape.file_len(), found: bytes.len() as u64 });
    }
    check_pages(pages, 32 * 1024, &root.pages)?;
    let mut values = list_values(&root);
    values.push(("id", object_digest(root_bytes).into()));
    values.push(("first_chunk", Digest(*pages.first_chunk().unwrap()).into()));
    Ok(values)
}

fn locator_values(root: &LocatorRoot) -> Values {
    vec![
        ("list", root.list.into()),
        ("chunks", root.chunks.into()),
        ("records", root.records.into()),
        ("in_part", u64::from(root.in_part).into()),
        ("packs", (root.packs.len() as u64).into()),
    ]
}

/// Reads record `record` of a page of records, for a locator with `chunks`, `records` and `packs`.
fn locator_page(vector: &Vector, bytes: &[u8]) -> Result<Values, RuleViolation> {
    let packs = vec![PackId::ZERO; usize::try_from(vector.number("packs")).unwrap()];
    let (chunks, records) = (vector.number("chunks"), vector.number("records"));
    let root = LocatorRoot { list: ListId::ZERO, chunks, records, in_part: false, packs, pages: Vec::new() };
    let place = FramePlace::decode(bytes, vector.number("record"), &root)?;
    Ok(vec![
        ("pack", u64::from(place.pack).into()),
        ("offset", u64::from(place.offset).into()),
        ("len", u64::from(place.len).into()),
        ("partial", u64::from(place.partial).into()),
        ("next", u64::from(place.next).into()),
        ("guard", format!("{:016x}", place.guard).as_str().into()),
    ])
}

fn locator(bytes: &[u8]) -> Result<Values, RuleViolation> {
    let (pages, root) = split_table(bytes)?;
    let root = LocatorRoot::decode(root)?;
    check_pages(pages, 24 * 1024, &root.pages)?;
    for (page, number) in pages.chunks(24 * 1024).zip(0..) {
        for record in 0..(page.len() / 24) as u64 {
            FramePlace::decode(page, number * 1024 + record, &root)?;
        }
    }
    Ok(locator_values(&root))
}

fn whole_pack(bytes: &[u8]) -> Result<Values, RuleViolation> {
    let found = bytes.len() as u64;
    let truncated = || RuleViolation::Truncated { needed: 48 + pack::TRAILER_LEN, found };
    let head = bytes.get(..48).ok_or_else(truncated)?;
    pack::decode_head(head)?;
    let tail = bytes.last_chunk::<56>().ok_or_else(truncated)?;
    let trailer = pack::decode_trailer(tail, found)?;
    let index = usize::try_from(trailer.index_offset()).unwrap();
    let frames = pack::decode_index(head, &bytes[index..bytes.len() - 56], &trailer)?;
    Ok(vec![
        ("id", trailer.id.into()),
        ("frames", (frames.len() as u64).into()),
        ("frames_len", trailer.frames_len.into()),
    ])
}

fn whole_frame(vector: &Vector, bytes: &[u8]) -> Result<Values, RuleViolation> {
    let blocks = u32::try_from(vector.number("blocks")).unwrap();
    let frame = Frame::decode(bytes, blocks)?;
    let mut plain = vec![0; frame::plain_len(frame.held(blocks))];
    frame.decode_payload(&mut plain)?;
    let mut held = plain.chunks_exact(BLOCK_LEN).map(block_digest);
    let digests: Vec<BlockDigest> = match &frame.presence {
        Presence::Whole => held.collect(),
        Presence::Partial { mask, absent } => {
            let mut absent = absent.iter().copied();
            (0..blocks)
                .map(|number| if frame::has(mask, number) { held.next() } else { absent.next() }.unwrap())
                .collect()
        }
    };
    let id = chunk_id(&digests);
    Ok(vec![
        ("held", u64::from(frame.held(blocks)).into()),
        ("plain", block_digest(&plain).into()),
        ("chunk_id", id.into()),
        ("guard", guard_text(&id, bytes).as_str().into()),
    ])
}

/// Computes the content id of a disk, from its definition.
pub fn content_of(disk: &[u8]) -> ContentId {
    let padded = |block: &[u8]| {
        let mut block = block.to_vec();
        block.resize(BLOCK_LEN, 0);
        block.iter().any(|&byte| byte != 0).then(|| block_digest(&block))
    };
    let blocks: Vec<_> = disk.chunks(BLOCK_LEN).map(padded).collect();
    let spans: Vec<_> = blocks.chunks(256).map(span_digest).collect();
    let found = spans.iter().zip(0..).filter_map(|(digest, number)| digest.map(|digest| (number, digest)));
    ContentHasher::of_spans(disk.len() as u64, spans.len() as u64, found)
}

fn bundle_head(bytes: &[u8], len: u64) -> Result<Values, RuleViolation> {
    let head = Head::decode(bytes)?;
    head.check_len(len, true)?;
    Ok(vec![
        ("table_offset", head.table_offset.into()),
        ("table_len", head.table_len.into()),
        ("tail_offset", head.tail_offset.into()),
    ])
}

fn table_values(table: &Table) -> Values {
    let names: Vec<_> = table.names.iter().map(|(name, _)| name.as_str()).collect();
    vec![
        ("bases", (table.bases.len() as u64).into()),
        ("objects", (table.objects.len() as u64).into()),
        ("pieces", table.objects.iter().map(|object| object.pieces.len() as u64).sum::<u64>().into()),
        ("names", names.join(" ").as_str().into()),
    ]
}

/// Returns the files of a store among the vectors.
fn store_files(name: &str) -> BTreeMap<String, Vec<u8>> {
    match name {
        super::stores::PARTS => super::parts::sound().files,
        super::stores::IMPORTED => super::stores::imported_files(),
        other => super::in_part::files(other).unwrap_or_else(|| panic!("no store {other}")),
    }
}

/// Opens a store with these files over those of its base, and runs the operation in the context.
fn folder(vector: &Vector, files: &BTreeMap<String, Vec<u8>>) -> Result<Values, String> {
    let base = vector.context("base").map_or_else(BTreeMap::new, |_| store_files(vector.text("base")));
    let store = open(base.iter().chain(files)).map_err(|error| rule_of(&error))?;
    if vector.text("operation") == "write" {
        let (image, other) = (vector.text("name").parse().unwrap(), "other".parse().unwrap());
        return store.tag(&image, &other, false).map(|_| Values::new()).map_err(|error| rule_of(&error));
    }
    operate(vector, &store)
}

fn open<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> melv::Result<Store> {
    let storage = MemoryStorage::new();
    files.for_each(|(name, bytes)| storage.put(name, bytes.clone()));
    Store::open(storage, StoreOptions { verify: VerifyMode::Full, ..Default::default() })
}

/// Opens a bundle beside the store with its bases, and runs the operation in the context. Ranges and a file
/// must give the same result.
fn bundle(vector: &Vector, bytes: &[u8]) -> Result<Values, String> {
    let base = || match vector.context("store") {
        None => None,
        Some(_) if vector.text("store") == super::bundles::WHOLE => {
            let whole = BytesObject::from(super::bundles::whole().bytes());
            Some(Images::from(Bundle::open_reader(whole, "whole", BundleOptions::default()).unwrap()))
        }
        Some(_) => Some(open(store_files(vector.text("store")).iter()).unwrap().into()),
    };
    let options = || BundleOptions { base: base(), ..Default::default() };
    let done = |opened: melv::Result<Bundle>| {
        opened.map_err(|error| rule_of(&error)).and_then(|store| operate(vector, &store))
    };
    let afar = done(Bundle::open_reader(BytesObject::from(bytes.to_vec()), "bundle", options()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    assert_eq!(afar, done(Bundle::open(file.path(), options())), "{}", vector.file);
    afar
}

fn operate(vector: &Vector, store: &Images) -> Result<Values, String> {
    match vector.text("operation") {
        "read" => read(store, vector.text("name")).map_err(|error| rule_of(&error)),
        "verify" => {
            let report = store.verify(&[], &VerifyOptions { full: true, ..Default::default() }).unwrap();
            report.damaged.first().map_or(Ok(Values::new()), |damage| Err(rule_of(&damage.error)))
        }
        other => panic!("{}: no operation {other}", vector.file),
    }
}

fn read(store: &Images, name: &str) -> melv::Result<Values> {
    let reference = if name.is_empty() {
        let mut all = store.image_refs()?;
        assert_eq!(all.len(), 1, "a bundle of one image");
        all.remove(0)
    } else {
        name.parse()?
    };
    let image = store.image(&reference)?;
    let mut disk = vec![0; usize::try_from(image.size()).unwrap()];
    image.read_at(0, &mut disk)?;
    Ok(vec![
        ("image", image.id().into()),
        ("size_bytes", image.size().into()),
        ("content", image.manifest().content.into()),
        ("disk", block_digest(&disk).into()),
    ])
}

fn rule_of(error: &Error) -> String {
    match error.detail() {
        Some(StoreError::Corrupt { fault, .. }) => return fault.rule().to_owned(),
        Some(StoreError::DigestMismatch { .. }) => return "chunk-id".to_owned(),
        Some(StoreError::BaseMissing { .. }) => return "missing".to_owned(),
        _ => {}
    }
    match error.detail() {
        // The rules that these vectors break without being damaged.
        Some(BlockError::Unsupported { feature, .. }) => {
            let known = [
                RuleViolation::WriterBit { found: 1 },
                RuleViolation::RefuseBit { found: 1 },
                RuleViolation::KeySlot { found: 1 },
                RuleViolation::ObjectKind { found: 5 },
            ];
            let fault = known.iter().find(|fault| fault.to_string() == *feature);
            fault.map_or_else(|| format!("{error:?}"), |fault| fault.rule().to_owned())
        }
        _ => format!("{error:?}"),
    }
}
