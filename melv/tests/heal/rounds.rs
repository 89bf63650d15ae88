//! Rounds of random damage, each healed or refused.

use super::*;

/// The way in which a round supplies the disks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    Again,
    OtherLevel,
    OtherThreads,
    Bundle,
}

/// Three disks that share, in a store, and a bundle of them.
struct Scene {
    place: Place,
    disks: Vec<(&'static str, Vec<u8>)>,
    bundle: Vec<u8>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let base = random_disk(seed * 7 + 1, 640 * KIB);
        let mut edited = base.clone();
        let mut rng = Rng::new(seed * 7 + 2);
        for _ in 0..12 {
            let at = rng.below(150) as usize * 4096;
            edited[at..at + 4096].copy_from_slice(&noise(rng.next()));
        }
        edited.extend((0..20).flat_map(|n| text(seed * 1000 + n)));
        let apart =
            [&base[200 * KIB..440 * KIB], &random_disk(seed * 7 + 3, 300 * KIB)[..], &edited[..90 * KIB]]
                .concat();
        let disks = vec![("base", base), ("edited", edited), ("apart", apart)];
        let place = Place::new();
        for (image, disk) in &disks {
            import(&place.open(), disk, &options(image));
        }
        let bundle = saved(&place.open(), &["base", "edited", "apart"]);
        Self { place, disks, bundle }
    }

    /// Returns whether each image can be read; a readable image must be unchanged.
    fn readable(&self, place: &Place, what: &str) -> Vec<bool> {
        let store = place.open();
        let judge = |(image, disk): &(&str, Vec<u8>)| match read(&store, image) {
            Ok(bytes) => {
                assert!(bytes == *disk, "{what}: {image} has other bytes");
                true
            }
            Err(error) => {
                // A flipped bit of a header may claim a newer melv.
                let is_typed = error.is_damage() || error.is_not_found();
                assert!(
                    is_typed || matches!(error.detail(), Some(BlockError::Unsupported { .. })),
                    "{what}: {image}: {error}"
                );
                false
            }
        };
        self.disks.iter().map(judge).collect()
    }
}

fn one_round(scene: &Scene, seed: u64) {
    let mut rng = Rng::new(seed);
    let place = scene.place.copy();
    let mut pick = |choices: usize| rng.below(choices as u64) as usize;
    let folder = ["packs", "lists", "locators", "pages", "manifests"][pick(5)];
    let harm = Harm::ALL[pick(4)];
    let supply = [Supply::Again, Supply::OtherLevel, Supply::OtherThreads, Supply::Bundle][pick(4)];
    let (without_index, verified) = (pick(4) == 0, pick(3) == 0);
    let objects = place.list(folder);
    let object = objects[pick(objects.len())].clone();
    let first = pick(3);
    place.harm(&object, harm, &mut rng);
    let what = format!(
        "round {seed}: {object} {harm:?}, {supply:?}, index gone {without_index}, verified {verified}"
    );
    if verified {
        place.open().verify(&[], &VerifyOptions { full: rng.below(2) == 0, ..Default::default() }).unwrap();
    }
    if without_index {
        place.remove_index();
    }
    let before = scene.readable(&place, &what);
    let mut told = false;
    if supply == Supply::Bundle {
        told |= load(&place.open(), &scene.bundle, true).is_err();
    } else {
        for number in 0..3 {
            // Without the index, only disks imported in the old order are recognized.
            let at = if without_index { number } else { (first + number) % 3 };
            let (image, disk) = &scene.disks[at];
            let level = if supply == Supply::OtherLevel { 9 } else { options("x").level };
            let options = ImportOptions { level, ..options(&format!("{image}:again")) };
            let threads = if supply == Supply::OtherThreads { 1 } else { 3 };
            match on_threads(threads, || bring(&place.open(), disk, &options)) {
                Ok(_) => {
                    let bytes = read(&place.open(), &format!("{image}:again"));
                    assert!(bytes.is_ok_and(|bytes| bytes == *disk), "{what}: {image}:again");
                }
                Err(error) => {
                    assert!(
                        error.is_damage() || matches!(error.detail(), Some(BlockError::Unsupported { .. })),
                        "{what}: {error}"
                    );
                    told = true;
                }
            }
            let now = scene.readable(&place, &what);
            assert!(before.iter().zip(&now).all(|(before, now)| !before || *now), "{what}: worse by {image}");
        }
    }
    let after = scene.readable(&place, &what);
    // At another level a disk is another image: only a bundle has the old one's record.
    let excused = told || supply == Supply::OtherLevel && folder == "manifests";
    assert!(excused || after.iter().all(|is_readable| *is_readable), "{what}: {before:?} {after:?}");
    // The bundle has everything.
    load(&place.open(), &scene.bundle, true).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(scene.readable(&place, &what).iter().all(|is_readable| *is_readable), "{what}: after the bundle");
    let report = place.open().verify(&[], &full()).unwrap();
    assert!(report.damaged.is_empty(), "{what}: {:?}", report.damaged);
}

#[test]
fn random_damage_is_healed_by_whoever_brings_the_disks_again() {
    let rounds: u64 = std::env::var("MELV_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let first: u64 = std::env::var("MELV_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let scenes: Vec<_> = (0..rounds.div_ceil(25).min(8)).map(Scene::new).collect();
    for seed in first..first + rounds {
        one_round(&scenes[seed as usize % scenes.len()], seed);
    }
}
