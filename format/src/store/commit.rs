//! The commit that is all or nothing (spec section 9).
//!
//! Under the store's lock a writer
//!
//! 1. looks at what of its work the store still lacks, and makes one of lists that both have;
//! 2. syncs every object that it made;
//! 3. writes and syncs a journal of the names that it is about to give, and copies of what they had;
//! 4. publishes packs and page files; locators; lists; records; references.
//!
//! A reader follows names downwards, so each name appears after all that it names. The references
//! decide: where they were published, the commit happened; else whoever next takes the store's lock
//! to write undoes it. No other writer can have built on those objects, because what is committed is
//! looked at under the same lock.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::journal::{JOURNAL, Journal, old_name, recover, undo};
use super::list::{Locator, load_root_by_trailer};
use super::merge::{OwnList, StagedList, merge};
use super::names::{self, RefName};
use super::open::read_range;
use super::record::Record;
use super::stage::{Moves, Stage};
use crate::digest::{Digest, object_digest};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::ondisk::reference::Reference;

/// What a commit gives names to.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// Packs and page files.
    pub objects: Moves,
    /// Lists with their locators.
    pub lists: Vec<StagedList>,
    /// Records.
    pub records: Moves,
    /// The names, each once, and the images that get them.
    pub references: Vec<(RefName, Digest)>,
    /// Whether a name that is taken may be taken over.
    pub naming: Naming,
    /// The time of the names, in seconds since 1970 UTC; `None` is now.
    pub created_seconds: Option<u64>,
    /// Objects that must be there already: what the images need and this commit does not bring.
    pub needs: Vec<String>,
}

/// When a name that is there already may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Naming {
    /// Never.
    #[default]
    New,
    /// Where it is the same image's.
    Same,
    /// Always.
    Replace,
}

impl Naming {
    /// As a user asks for it.
    pub fn replacing(replace: bool) -> Self {
        if replace { Self::Replace } else { Self::New }
    }
}

/// What is left to publish, looked at under the store's lock.
#[derive(Debug, Default)]
struct Plan {
    /// Packs and page files.
    objects: Moves,
    lists: Moves,
    locators: Moves,
    records: Moves,
    references: Moves,
    /// The digests of the references' objects.
    digests: Vec<Digest>,
}

impl Plan {
    /// What gets its names one after the other: each group is durable before the next.
    fn groups(&self) -> [&Moves; 5] {
        [&self.objects, &self.locators, &self.lists, &self.records, &self.references]
    }
}

impl Stage {
    /// Gives a name to an image that is there.
    pub fn commit_reference(
        self,
        image: Digest,
        name: &RefName,
        replace: bool,
        created_seconds: Option<u64>,
    ) -> Result<u64> {
        let references = vec![(name.clone(), image)];
        let naming = Naming::replacing(replace);
        let publication = Publication { references, naming, created_seconds, ..Publication::default() };
        self.commit_then(&publication, |_| ())
    }

    /// Commits: see the module's text. Returns the bytes by which the store grew. `after` is called
    /// once the commit is done and the store's lock is free, while the folder is still there.
    pub fn commit_then(mut self, publication: &Publication, after: impl FnOnce(&Self)) -> Result<u64> {
        let (references, digests) = self.stage_references(publication)?;
        self.sync_all()?;
        let lock = self.shared.lock()?;
        // Another import through this handle may have failed to sync since this one began.
        self.shared.check_writable()?;
        recover(&self.shared)?;
        publication
            .references
            .iter()
            .try_for_each(|(name, image)| self.check_name(name, image, publication.naming))?;
        let plan = Plan { references, digests, ..self.still_missing(publication)? };
        let (journal, grown) = self.journal(&plan)?;
        self.put("journal-new", &journal.encode())?;
        self.sync_all()?;
        // Published like everything else, so that each name is durable before those it tells of.
        let copies: Moves = journal
            .restore
            .iter()
            .map(|(_, copy)| (self.staged(&unnamed(copy)), self.staged(copy)))
            .collect();
        if !copies.is_empty() {
            self.publish(&copies)?;
        }
        self.publish(&[(self.staged("journal-new"), self.staged(JOURNAL))])?;
        self.keep_journal = true;
        let published = plan
            .groups()
            .into_iter()
            .try_for_each(|moves| if moves.is_empty() { Ok(()) } else { self.publish(moves) });
        publication.lists.iter().for_each(|list| self.shared.forget_list(&list.id));
        if let Err(error) = published {
            if undo(&self.shared, &self.folder).and_then(|()| self.remove_journal()).is_ok() {
                self.keep_journal = false;
            } else {
                // The folder stays, with its journal, and looks like a dead writer's before anybody
                // else can take the store's lock: the next one goes on.
                self.held = None;
            }
            return Err(error);
        }
        // Without the journal, what is left in the folder is nobody's but this writer's. It goes
        // while names cannot change yet: a journal whose name was given away or removed would be
        // taken for one of a commit that did not happen, were this writer to die from here on.
        if let Err(error) = self.remove_journal() {
            tracing::warn!(folder = self.folder, %error, "could not remove the journal of a finished commit");
            self.held = None;
            return Ok(grown);
        }
        self.keep_journal = false;
        drop(lock);
        after(&self);
        self.clear();
        Ok(grown + self.shared.take_made_bytes())
    }

    fn remove_journal(&self) -> Result<()> {
        let journal = self.staged(JOURNAL);
        self.shared.storage.remove(std::slice::from_ref(&journal)).map_err(|error| {
            self.shared.poison();
            Error::io("remove", journal, error)
        })
    }

    /// Makes the references' objects.
    fn stage_references(&self, publication: &Publication) -> Result<(Moves, Vec<Digest>)> {
        let created_seconds = publication.created_seconds.unwrap_or_else(now_seconds);
        let mut moves = Moves::new();
        let mut digests = Vec::new();
        for ((name, image), number) in publication.references.iter().zip(0..) {
            let bytes = Reference { name: name.to_string(), image: *image, created_seconds }.encode();
            let staged = format!("reference-{number}");
            self.put(&staged, &bytes)?;
            digests.push(object_digest(&bytes));
            moves.push((self.staged(&staged), name.object()));
        }
        Ok((moves, digests))
    }

    /// Fails where a name may not be given.
    fn check_name(&self, name: &RefName, image: &Digest, naming: Naming) -> Result<()> {
        let is_free = match naming {
            Naming::Replace => true,
            _ if !self.is_there(&name.object())? => true,
            Naming::New => false,
            Naming::Same => self.shared.reference(name).is_ok_and(|found| found.image == *image),
        };
        if is_free { Ok(()) } else { Err(Error::Exists { what: "name", name: name.to_string() }) }
    }

    /// The journal of a plan, for which copies of what is replaced are made; and the bytes by which
    /// the store grows.
    fn journal(&self, plan: &Plan) -> Result<(Journal, u64)> {
        let names = plan.references.iter().map(|(_, name)| name.clone());
        let mut journal =
            Journal { references: names.zip(plan.digests.iter().copied()).collect(), ..Journal::default() };
        let (mut grown, mut old) = (0, 0);
        for (staged, name) in plan.groups().into_iter().flatten() {
            grown += self.len_of(staged)?.unwrap_or(0);
            match self.len_of(name)? {
                None => journal.new.push(name.clone()),
                Some(len) => {
                    old += len;
                    let copy = old_name(journal.restore.len());
                    match self.copy(name, &unnamed(&copy)) {
                        Ok(()) => journal.restore.push((name.clone(), copy)),
                        // What cannot be read was not worth keeping.
                        Err(Error::Io { operation: "read", .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok((journal, u64::saturating_sub(grown, old)))
    }

    /// Copies an object of the store into this stage.
    fn copy(&self, name: &str, staged: &str) -> Result<()> {
        const PIECE_LEN: u64 = 1 << 20;
        let from = self.shared.storage.open(name).map_err(|error| Error::io("open", name, error))?;
        let to = self.create(staged)?;
        for offset in (0..from.len()).step_by(PIECE_LEN as usize) {
            let piece = read_range(from.as_ref(), name, offset, PIECE_LEN.min(from.len() - offset))?;
            self.append(to.as_ref(), staged, &piece)?;
        }
        Ok(())
    }

    /// What is not in the store yet, or is there and damaged: equal content has equal names, so
    /// another writer may have committed it meanwhile. Fails where something that the images need is
    /// not there.
    fn still_missing(&self, publication: &Publication) -> Result<Plan> {
        let mut plan = Plan::default();
        for moved in &publication.records {
            let id = names::digest_of(&moved.1).unwrap_or_default();
            match Record::check(&self.shared, id) {
                Ok(()) => {}
                Err(error) if error.may_pass() => return Err(error),
                Err(_) => plan.records.push(moved.clone()),
            }
        }
        self.objects_missing(publication, &mut plan)?;
        let brought: BTreeSet<String> = plan.records.iter().map(|(_, name)| name.clone()).collect();
        for (_, image) in &publication.references {
            let record = names::object(names::MANIFESTS, image);
            if !brought.contains(&record) && !self.is_there(&record)? {
                return Err(Error::NotFound { what: "image", name: format!("@{image}") });
            }
        }
        for name in &publication.needs {
            if !self.is_there(name)? {
                return Err(Error::corrupt(name, 0, Fault::Missing));
            }
        }
        Ok(plan)
    }

    /// Lists that the store lacks, or lacks parts of; packs that their locators name; page files.
    fn objects_missing(&self, publication: &Publication, plan: &mut Plan) -> Result<()> {
        let mut packs = BTreeSet::new();
        for staged in &publication.lists {
            let (list, locator) =
                (names::object(names::LISTS, &staged.id), names::object(names::LOCATORS, &staged.id));
            let bring = match OwnList::find(&self.shared, &staged.id)? {
                Some(own) => {
                    let merged = merge(self, &self.shared, &own, staged)?;
                    (merged.list, merged.locator)
                }
                None if matches!(staged.over, Some(Some(_))) => return Err(Error::Conflict { object: list }),
                None => (Some(staged.list.clone()), Some(staged.locator.clone())),
            };
            if let Some(from) = &bring.1 {
                let shape = load_root_by_trailer(&self.shared, &staged.list, &staged.id)?.shape;
                packs.extend(Locator::load(&self.shared, from.clone(), &staged.id, &shape)?.root.packs);
                // Stages come and go, and their names with them.
                [&staged.list, from].iter().for_each(|name| self.shared.forget_object(name));
            }
            plan.lists.extend(bring.0.map(|from| (from, list)));
            plan.locators.extend(bring.1.map(|from| (from, locator)));
        }
        for moved in &publication.objects {
            let is_pack = moved.1.starts_with(names::PACKS);
            // A pack that no locator will name is not needed: another writer brought its chunks.
            // Nor are pages of images that are here already.
            let wanted = match names::digest_of(&moved.1) {
                Some(id) if is_pack => packs.contains(&id),
                _ => !plan.records.is_empty(),
            };
            let is_twice = plan.objects.last().is_some_and(|(_, last)| *last == moved.1);
            if wanted && !is_twice && !self.is_there(&moved.1)? {
                plan.objects.push(moved.clone());
            }
        }
        let brought: BTreeSet<_> =
            publication.objects.iter().filter_map(|moved| names::digest_of(&moved.1)).collect();
        for pack in packs.difference(&brought) {
            // Frames that were found in the store and are gone now.
            if !self.is_there(&names::object(names::PACKS, pack))? {
                return Err(Error::Conflict { object: names::object(names::PACKS, pack) });
            }
        }

        Ok(())
    }

    fn is_there(&self, name: &str) -> Result<bool> {
        Ok(self.len_of(name)?.is_some())
    }

    /// The length of an object that is there. One that cannot be opened for another reason is not
    /// missing: what is taken for missing would be written over, and taken back if the commit fails.
    fn len_of(&self, name: &str) -> Result<Option<u64>> {
        match self.shared.storage.open(name) {
            Ok(object) => Ok(Some(object.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", name, error)),
        }
    }

    fn publish(&self, moves: &[(String, String)]) -> Result<()> {
        let target = moves.first().map_or("", |moved| moved.1.as_str());
        self.shared.storage.publish(moves).map_err(|error| {
            self.shared.poison();
            Error::io("publish", target, error)
        })
    }
}

/// What a copy is called until it is complete.
fn unnamed(copy: &str) -> String {
    format!("{copy}-new")
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
