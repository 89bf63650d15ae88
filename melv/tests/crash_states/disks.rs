//! Small disks that share blocks with each other, and bundles of some of them.

use std::sync::Arc;

use melv::storage::BytesObject;
use melv::{Bundle, BundleOptions, ImageRef, MemoryStorage, SaveOptions};

use melv_testing::{BLOCK, Rng, import, noise, options, store_in};

/// The number of distinct disks.
pub const DISKS: usize = 24;

/// Disks of 8 to 32 blocks, by number, and the bundles to load.
#[derive(Debug)]
pub struct Disks {
    all: Vec<Vec<u8>>,
    /// The bundles; for each, the names of its images and their disks.
    pub bundles: Vec<(Bundle, Vec<(&'static str, usize)>)>,
}

impl Disks {
    pub fn new() -> Arc<Self> {
        let mut rng = Rng::new(7);
        let mut all: Vec<Vec<u8>> = Vec::new();
        for number in 0..DISKS as u64 {
            let blocks = 8 + rng.below(25);
            let mut disk = Vec::new();
            for block in 0..blocks {
                match rng.below(4) {
                    // A block of an earlier disk.
                    0 | 1 if number > 0 => {
                        let other = &all[rng.below(number) as usize];
                        let at = rng.below((other.len() / BLOCK) as u64) as usize;
                        disk.extend_from_slice(&other[at * BLOCK..][..BLOCK]);
                    }
                    2 if block % 3 == 0 => disk.extend(vec![0; BLOCK]),
                    _ => disk.extend(noise(number * 100 + block)),
                }
            }
            all.push(disk);
        }
        let bundles = vec![
            bundle(&all, &[("left", 20), ("right", 21)], &["left"]),
            bundle(&all, &[("left", 20), ("right", 21)], &["left", "right"]),
            bundle(&all, &[("up", 22), ("down", 23)], &["up", "down"]),
        ];
        Arc::new(Self { all, bundles })
    }

    pub fn get(&self, number: usize) -> &[u8] {
        &self.all[number]
    }

    /// Returns the number of the disk with these bytes.
    pub fn which(&self, bytes: &[u8]) -> Option<usize> {
        self.all.iter().position(|disk| disk == bytes)
    }
}

/// Makes a bundle of some of the images of a store that holds `disks`.
fn bundle(
    all: &[Vec<u8>],
    disks: &[(&'static str, usize)],
    saved: &[&str],
) -> (Bundle, Vec<(&'static str, usize)>) {
    let source = store_in(&MemoryStorage::new());
    for (name, disk) in disks {
        import(&source, &all[*disk], &options(name));
    }
    let refs: Vec<ImageRef> = saved.iter().map(|name| name.parse().expect("a reference")).collect();
    let mut bytes = Vec::new();
    source.save(&refs, &mut bytes, &SaveOptions::default()).expect("saved");
    let store =
        Bundle::open_reader(BytesObject::from(bytes), "bundle", BundleOptions::default()).expect("opened");
    (store, disks.iter().filter(|(name, _)| saved.contains(name)).copied().collect())
}
