//! States of the disk after a loss of power.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::state::{Body, Content, Entry, Ino, Names, Node, State, TOP};

const SECTOR_LEN: usize = 512;
/// The maximum number of consecutive sectors with the same fate.
const RUN_MAX: u64 = 12;

/// xorshift64*: the same numbers everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `end`, which must not be zero. Uses high bits, because low
    /// ones are alike for neighbouring seeds.
    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 33) % end as u64) as usize
    }
}

/// A machine at one moment: its state, and the part that would survive.
#[derive(Debug, Clone)]
pub struct Moment(pub(super) State);

/// The share of nondurable changes that survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Nothing,
    All,
    Some,
}

impl Luck {
    fn draw(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Nothing,
            1 => Self::All,
            _ => Self::Some,
        }
    }
}

impl Moment {
    /// Returns the machine restarted after a loss of power at this moment, in one of many states chosen
    /// by `seed`.
    pub(super) fn after_loss(&self, seed: u64) -> State {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        let luck = Luck::draw(&mut random);
        let names = match self.0.names {
            Names::Ordered => self.ordered_names(luck, &mut random),
            Names::Loose => self.loose_names(luck, &mut random),
        };
        let luck = Luck::draw(&mut random);
        let mut after = State { nodes: BTreeMap::new(), pending: Vec::new(), ..self.0.clone() };
        settle(&self.0, &names, &mut after, luck, &mut random);
        after
    }

    /// Returns a hash of the names, and of the bytes of the files whose path `counts` accepts.
    #[must_use]
    pub fn hash(&self, counts: impl Fn(&str) -> bool) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_folder(TOP, "", &counts, &mut hasher);
        hasher.finish()
    }

    fn hash_folder(&self, ino: Ino, path: &str, counts: &dyn Fn(&str) -> bool, hasher: &mut DefaultHasher) {
        for (name, ino) in self.0.entries(ino).into_iter().flatten() {
            let path = format!("{path}/{name}");
            name.hash(hasher);
            match self.0.nodes.get(ino).map(|node| &node.body) {
                Some(Body::File { live, .. }) if counts(&path) => {
                    (live.bytes.len(), live.hash()).hash(hasher);
                }
                Some(Body::File { .. }) => hasher.write_u8(b'.'),
                _ => {
                    self.hash_folder(*ino, &path, counts, hasher);
                    hasher.write_u8(b'/');
                }
            }
        }
    }

    fn durable_names(&self) -> BTreeMap<(Ino, &str), Ino> {
        let mut names = BTreeMap::new();
        for (ino, node) in &self.0.nodes {
            if let Body::Folder { durable, .. } = &node.body {
                names.extend(durable.iter().map(|(name, target)| ((*ino, name.as_str()), *target)));
            }
        }
        names
    }

    fn ordered_names(&self, luck: Luck, random: &mut Random) -> BTreeMap<(Ino, &str), Ino> {
        let mut names = self.durable_names();
        let count = match luck {
            Luck::Nothing => 0,
            Luck::All => self.0.pending.len(),
            Luck::Some => random.below(self.0.pending.len() + 1),
        };
        for Entry { folder, name, ino } in self.0.pending[..count].iter().flatten() {
            match ino {
                Some(ino) => names.insert((*folder, name), *ino),
                None => names.remove(&(*folder, name.as_str())),
            };
        }
        names
    }

    fn loose_names(&self, luck: Luck, random: &mut Random) -> BTreeMap<(Ino, &str), Ino> {
        let mut names = self.durable_names();
        let mut became: BTreeMap<(Ino, &str), Vec<Option<Ino>>> = BTreeMap::new();
        for Entry { folder, name, ino } in self.0.pending.iter().flatten() {
            became.entry((*folder, name)).or_default().push(*ino);
        }
        for (name, values) in became {
            // Choice 0 keeps the durable value.
            let choice = match luck {
                Luck::Nothing => 0,
                Luck::All => values.len(),
                Luck::Some => random.below(values.len() + 1),
            };
            match choice.checked_sub(1).map(|choice| values[choice]) {
                None => {}
                Some(Some(ino)) => drop(names.insert(name, ino)),
                Some(None) => drop(names.remove(&name)),
            }
        }
        names
    }
}

/// Fills `after` with the files and folders reachable through `names`.
fn settle(
    before: &State,
    names: &BTreeMap<(Ino, &str), Ino>,
    after: &mut State,
    luck: Luck,
    random: &mut Random,
) {
    let mut todo = vec![(TOP, TOP)];
    let mut seen = BTreeSet::new();
    while let Some((ino, above)) = todo.pop() {
        let Some(node) = before.nodes.get(&ino) else { continue };
        if !seen.insert(ino) {
            if let Some(node) = after.nodes.get_mut(&ino).map(Arc::make_mut) {
                node.links += 1;
            }
            continue;
        }
        let body = match &node.body {
            Body::File { live, durable } => {
                let content = settle_file(live, durable, luck, random);
                Body::File { live: content.clone(), durable: content }
            }
            Body::Folder { .. } => {
                let inside: BTreeMap<String, Ino> = names
                    .range((ino, "")..(ino + 1, ""))
                    .map(|((_, name), target)| ((*name).to_owned(), *target))
                    .collect();
                todo.extend(inside.values().map(|target| (*target, ino)));
                Body::Folder { above, live: inside.clone(), durable: inside }
            }
        };
        let modified_nanos = node.modified_nanos;
        after.nodes.insert(ino, Arc::new(Node { body, links: 1, modified_nanos }));
    }
}

/// Returns the remaining content of a file.
fn settle_file(live: &Arc<Content>, durable: &Arc<Content>, luck: Luck, random: &mut Random) -> Arc<Content> {
    if Arc::ptr_eq(live, durable) || live.bytes == durable.bytes {
        return durable.clone();
    }
    let luck = if luck == Luck::Some { Luck::draw(random) } else { luck };
    match luck {
        Luck::Nothing => return durable.clone(),
        Luck::All => return live.clone(),
        Luck::Some => {}
    }
    let (old, new) = (&durable.bytes, &live.bytes);
    let (short, long) = (old.len().min(new.len()), old.len().max(new.len()));
    let len = match random.below(3) {
        0 => old.len(),
        1 => new.len(),
        _ => short + random.below(long - short + 1),
    };
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        let run = (1 + random.below(RUN_MAX as usize)) * SECTOR_LEN;
        let end = (at + run).min(len);
        // A durable sector keeps its old or new bytes. A new sector may also hold zeros or the medium's
        // previous data.
        let fate = random.below(4);
        for start in (at..end).step_by(SECTOR_LEN) {
            let end = (start + SECTOR_LEN).min(end);
            let source: &[u8] = match fate {
                0 => old,
                2 | 3 if start < old.len() => old,
                2 => &[],
                3 => {
                    bytes[start..end].fill_with(|| (random.next() >> 40) as u8);
                    continue;
                }
                _ => new,
            };
            let from = source.get(start..end.min(source.len())).unwrap_or_default();
            bytes[start..start + from.len()].copy_from_slice(from);
        }
        at = end;
    }
    Content::new(bytes)
}
