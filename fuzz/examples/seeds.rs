//! Writes seed inputs for every target: the format's vectors, and generated disks, stores and conversations.
//!
//! usage: cargo run --example seeds -- FOLDER    writes FOLDER/NAME/… for each target

use std::fs;
use std::path::{Path, PathBuf};

use melv::digest::object_digest;
use melv::{ImportOptions, MemoryStorage, Source, Store, StoreOptions};
use melv_testing::Rng;
use melv_testing::vmdk::made::{Grains, Layout, Sparse, descriptor, embedded};

/// The output folder. Each input is named by its digest, so that none is there twice.
struct Seeds(PathBuf);

impl Seeds {
    fn put(&self, target: &str, bytes: &[u8]) {
        assert!(melv_fuzz::TARGETS.iter().any(|known| known.name == target), "{target}");
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        let name = &object_digest(bytes).to_string()[..16];
        fs::write(folder.join(name), bytes).expect("a file");
    }
}

fn main() {
    let folder = std::env::args().nth(1).expect("usage: seeds FOLDER");
    let seeds = Seeds(folder.into());
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors");
    for part in ["valid", "invalid", "future"] {
        vectors_below(&vectors.join(part), &seeds);
    }
    stores(&seeds);
    scripts(&seeds);
    texts(&seeds);
    vmdks(&seeds);
    (0..400).for_each(|seed| conversation(&seeds, seed));
}

fn vectors_below(folder: &Path, seeds: &Seeds) {
    for entry in fs::read_dir(folder).expect("the vectors") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            vectors_below(&path, seeds);
            continue;
        }
        let bytes = fs::read(&path).expect("a vector");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder =
            path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        object(seeds, name.rsplit('.').next().unwrap_or_default(), folder, &bytes);
    }
}

fn object(seeds: &Seeds, kind: &str, folder: &str, bytes: &[u8]) {
    match (kind, folder) {
        ("map-leaf", _) => seeds.put("map_leaf", &[&[5], bytes].concat()),
        ("manifest", _) => seeds.put("manifest", bytes),
        ("record", _) | (_, "manifests") => seeds.put("record", bytes),
        ("frame" | "pack", _) | (_, "packs" | "pages") => seeds.put("frames", bytes),
        ("bundle-table" | "bundle-head", _) => seeds.put("bundle_table", bytes),
        ("bundle", _) => {
            seeds.put("bundle_table", &bytes[..bytes.len().min(512)]);
            let table = bytes.windows(8).rposition(|magic| magic == b"melvbtab");
            seeds.put("bundle_table", &bytes[table.unwrap_or_default()..]);
        }
        ("locator-root" | "locator" | "list" | "locator-page", _) | (_, "lists" | "locators") => {
            table(seeds, bytes);
        }
        _ if bytes.starts_with(b"melv") => seeds.put("objects", bytes),
        _ => {}
    }
}

/// Writes a table as its target expects it: root length, root, pages. A page alone gets no root.
fn table(seeds: &Seeds, bytes: &[u8]) {
    let found = |magic: &[u8]| bytes.windows(8).rposition(|found| found == magic);
    let start = found(b"melvlist").or(found(b"melvloca"));
    let (page, root) = bytes.split_at(start.unwrap_or(bytes.len()));
    let is_file = !page.is_empty() && root.len() > 8;
    let root = if is_file { &root[..root.len() - 8] } else { root };
    seeds.put("tables", &[&(root.len() as u16).to_le_bytes(), root, page].concat());
}

/// Writes the objects of a store made by imports.
fn stores(seeds: &Seeds) {
    let storage = MemoryStorage::new();
    let store = Store::create(storage.clone(), StoreOptions::default()).expect("a store");
    let mut rng = Rng::new(7);
    for (number, chunk_blocks) in [1, 8, 32].into_iter().enumerate() {
        let blocks = (0..40).flat_map(|at| match at % 5 {
            0 => vec![0; 4096],
            1 => rng.bytes(4096),
            _ => format!("{at} {number}\n").into_bytes().into_iter().cycle().take(4096).collect(),
        });
        let disk: Vec<u8> = blocks.collect();
        let name = format!("disk-{number}").parse().expect("a name");
        let options = ImportOptions { chunk_blocks, ..ImportOptions::named(name) };
        store.import(Source::stream(&disk[..], "seed"), &options).expect("an import");
    }
    // Keys that fill a page of the index, and more than one.
    for blocks in [340, 341, 1100] {
        let block = |n: u32| format!("{n:08} of {blocks}\n").into_bytes().into_iter().cycle().take(4096);
        let disk: Vec<u8> = (0..blocks).flat_map(block).collect();
        let other = MemoryStorage::new();
        let store = Store::create(other.clone(), StoreOptions::default()).expect("a store");
        let options = ImportOptions::named("many".parse().expect("a name"));
        store.import(Source::stream(&disk[..], "seed"), &options).expect("an import");
        for (name, bytes) in other.contents().into_iter().filter(|(name, _)| name.contains("/segments/")) {
            storage.put(&format!("{name}-{blocks}"), bytes);
        }
    }
    for (name, bytes) in storage.contents() {
        if name.starts_with("index/segments/") {
            seeds.put("segment", &[&[0], &bytes[64..72], &bytes].concat());
            seeds.put("segment", &[&[1], &bytes[64..72], &bytes].concat());
        } else if !name.starts_with("index/") && bytes.len() <= 16 << 10 {
            object(seeds, "", name.split('/').next().unwrap_or_default(), &bytes);
        }
        let leaf =
            bytes.windows(8).position(|magic| magic == b"melvmapl").filter(|_| name.starts_with("pages/"));
        if let Some(at) = leaf {
            let end = at + 32 + u64::from_le_bytes(bytes[at + 24..at + 32].try_into().expect("8")) as usize;
            seeds.put("map_leaf", &[&[5], &bytes[at..end.min(bytes.len())]].concat());
        }
    }
}

/// Writes scripts of choices: any bytes are a script.
fn scripts(seeds: &Seeds) {
    let mut rng = Rng::new(9);
    for number in 0..=255u8 {
        let len = 1 + rng.below(60) as usize;
        let script = rng.bytes(len);
        seeds.put("bundle", &[&[number], &script[..]].concat());
        seeds.put("bundle", &[number]);
        seeds.put("store_ops", &script);
        seeds.put("index", &script);
    }
    seeds.put("index", &[]);
}

fn texts(seeds: &Seeds) {
    for name in
        ["web", "web:v1.2", "a_b-c.d:latest", "refs/web/latest", "My Disk (1)", "..web__server--", "@"]
    {
        seeds.put("names", name.as_bytes());
    }
    seeds.put("names", format!("@{}", object_digest(b"id")).as_bytes());
    for text in [
        &b"reference refs/three/latest %\x00\nnew $\x01\n"[..],
        b"reference refs/one/latest %\x08\nnew $\x03\nnew refs/one/latest\nrestore $\x01 old-0\n",
        b"reference $\x08 %\x08\nnew $\x00\nnew $\x01\nnew $\x02\nnew $\x03\nnew $\x04\nrestore $\x05 old-0\n",
        b"new ../x\nreference refs/../x 0\n",
    ] {
        seeds.put("journal", text);
    }
}

fn vmdks(seeds: &Seeds) {
    let mut disk: Vec<u8> = (0..90 * 4096 + 3 * 512u32).map(|at| (at / 900 % 251) as u8).collect();
    disk[20 * 4096..40 * 4096].fill(0);
    let plain = Sparse { grain_sectors: 8, entries: 128, ..Sparse::default() };
    let stored = |grains| Sparse { version: 3, grains, ..plain.clone() };
    let mut all = vec![
        plain.clone(),
        Sparse { grain_sectors: 64, zero_grains: true, redundant: false, ..plain.clone() },
        stored(Grains::Bare(Layout::Front)),
        Sparse { grain_sectors: 4096, ..stored(Grains::Marked(Layout::True)) },
        Sparse { progress: Some(3), ..stored(Grains::Marked(Layout::True)) },
    ];
    all.extend([Layout::Front, Layout::Patched, Layout::True].map(|layout| stored(Grains::Marked(layout))));
    for (number, sparse) in all.into_iter().enumerate() {
        for len in [disk.len(), 9 * 4096 + 512, 4096, 512] {
            let is_plain = sparse.grains == Grains::Plain;
            let create_type = if is_plain { "monolithicSparse" } else { "streamOptimized" };
            let sparse = Sparse { descriptor: Some(embedded(create_type, len)), ..sparse.clone() };
            let file = sparse.make(&disk[..len]);
            if file.len() > 48 << 10 && number > 2 {
                continue;
            }
            seeds.put("vmdk_sparse", &file);
            if !is_plain {
                seeds.put("vmdk_stream", &file);
            }
        }
    }
    let lines =
        ["RW 3 FLAT \"flat.bin\" 1", "RW 9 FLAT \"flat.bin\" 4", "NOACCESS 7 ZERO"].map(str::to_owned);
    for create_type in ["custom", "monolithicFlat", "vmfs", "twoGbMaxExtentFlat"] {
        let text = descriptor(create_type, &lines);
        seeds.put("vmdk_sparse", text.as_bytes());
        seeds.put("vmdk_text", text.as_bytes());
        for (from, to) in [
            ("CID=1", "encoding=\"GBK\"\nCID=1"),
            ("parentCID=ffffffff", "parentCID=12345678\nparentFileNameHint=\"base.vmdk\""),
            ("\n", "\r\n"),
            ("FLAT", "SPARSE"),
            ("\"flat.bin\"", "\"\u{4e2d}.vmdk\""),
        ] {
            seeds.put("vmdk_text", text.replace(from, to).as_bytes());
        }
    }
    seeds.put("vmdk_text", embedded("streamOptimized", 4096).as_bytes());
}

fn conversation(seeds: &Seeds, seed: u64) {
    let said = melv_fuzz::nbd::scripted(seed);
    seeds.put("nbd_handshake", &[&[seed as u8], &said[..]].concat());
    // Requests follow the options: find the first magic of a request.
    let magics = [0x2560_9513u32.to_be_bytes(), 0x21e4_1c71u32.to_be_bytes()];
    let at = said.windows(4).position(|bytes| magics.iter().any(|magic| magic == bytes));
    if let Some(at) = at {
        let is_extended = said[at] == 0x21;
        let choice = if is_extended { 2 + 9 } else { (seed % 2) as u8 };
        seeds.put("nbd_requests", &[&[choice], &said[at..]].concat());
    }
}
