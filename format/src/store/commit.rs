//! The atomic commit (spec section 9).
//!
//! A writer compares its work with the store, and merges lists that both have. Then, under the store's
//! lock, it
//!
//! 1. checks that the comparison still holds, and determines the objects the store still lacks;
//! 2. syncs every object that it made;
//! 3. writes and syncs a journal of the names to publish, and copies of the objects to be replaced;
//! 4. publishes packs and page files; locators; lists; records; references.
//!
//! A reader follows names downwards, so each name appears after everything it refers to. The references
//! decide: once they are published, the commit has happened. Otherwise the next process that takes the
//! store's lock to write undoes it. No other writer can have used those objects, because writers read
//! committed objects under the same lock.

use std::time::{SystemTime, UNIX_EPOCH};

use super::journal::{DONE, JOURNAL, Journal, Standing, old_name, recover, roll_back, standing};
use super::merge::StagedList;
use super::names::{self, RefName};
use super::open::read_range;
use super::stage::{Moves, Stage};
use crate::digest::{Digest, object_digest};
use crate::error::{BlockError, Error, ErrorKind, Result, StoreError};
use crate::ondisk::reference::Reference;

/// The names that a commit publishes.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// Packs and page files.
    pub objects: Moves,
    /// Lists with their locators.
    pub lists: Vec<StagedList>,
    /// Records.
    pub records: Moves,
    /// The names, each once, and their new images.
    pub references: Vec<(RefName, Digest)>,
    /// The rule for existing names.
    pub naming: Naming,
    /// The time of the names, in seconds since 1970 UTC; `None` means now.
    pub created_seconds: Option<u64>,
    /// Objects that must exist already: the images need them, and this commit does not bring them.
    pub needs: Vec<String>,
}

/// The condition for giving a name that already exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Naming {
    /// Never.
    #[default]
    New,
    /// For the same image only.
    Same,
    /// Always.
    Replace,
}

impl Naming {
    /// Converts the user's choice.
    pub fn replacing(replace: bool) -> Self {
        if replace { Self::Replace } else { Self::New }
    }
}

/// The names still to publish, determined under the store's lock.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Packs and page files.
    pub objects: Moves,
    pub lists: Moves,
    pub locators: Moves,
    pub records: Moves,
    references: Moves,
    /// The digests of the references' objects.
    digests: Vec<Digest>,
}

impl Plan {
    /// Returns the groups in order of publication: each is durable before the next.
    fn groups(&self) -> [&Moves; 5] {
        [&self.objects, &self.locators, &self.lists, &self.records, &self.references]
    }
}

impl Stage {
    /// Gives a name to an existing image.
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

    /// Commits as the module docs describe. Returns the growth of the store in bytes. Calls `after` once
    /// the commit is done and the store's lock is free, while the folder still exists.
    pub fn commit_then(mut self, publication: &Publication, after: impl FnOnce(&Self)) -> Result<u64> {
        let (references, digests) = self.stage_references(publication)?;
        let prepared = self.prepare(publication)?;
        self.sync_all()?;
        let lock = self.shared.lock()?;
        // A sync of another import through this handle may have failed since this one began.
        self.shared.check_writable()?;
        recover(&self.shared)?;
        publication
            .references
            .iter()
            .try_for_each(|(name, image)| self.check_name(name, image, publication.naming))?;
        let plan = Plan { references, digests, ..self.still_missing(publication, prepared)? };
        let (journal, grown) = self.journal(&plan)?;
        self.put("journal-new", &journal.encode())?;
        if journal.references.is_empty() {
            self.put(&unnamed(DONE), &[])?;
        }
        self.sync_all()?;
        self.prepare_folders(&plan)?;
        // Published like all other names, so that the copies are durable before the journal that refers to
        // them.
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
        let published = self.publish_plan(&plan);
        publication.lists.iter().for_each(|list| self.shared.forget_list(&list.id));
        if let Err(error) = published {
            return Err(self.take_back(&plan, error));
        }
        // Remove the journal while the lock still keeps names from changing. If this writer died later and
        // one of its names had been changed or removed, the journal would look like that of a failed commit.
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

    /// Publishes everything in the order that readers need.
    fn publish_plan(&self, plan: &Plan) -> Result<()> {
        let done = [(self.staged(&unnamed(DONE)), self.staged(DONE))];
        let groups = plan.groups().into_iter().filter(|moves| !moves.is_empty());
        groups.map(Vec::as_slice).try_for_each(|moves| self.publish(moves))?;
        if plan.references.is_empty() { self.publish(&done) } else { Ok(()) }
    }

    /// Undoes a commit that failed while publishing, and returns the error to report.
    fn take_back(&mut self, plan: &Plan, error: Error) -> Error {
        let standing = standing(&self.shared, &self.folder);
        if let Ok(Standing::BrokenOff(journal)) = &standing
            && roll_back(&self.shared, &self.folder, journal).and_then(|()| self.remove_journal()).is_ok()
        {
            self.keep_journal = false;
            return error;
        }
        // Keep the folder and its journal, and release its lock while the store's lock is still held. The
        // next writer then treats the folder like a dead writer's.
        self.held = None;
        let is_decided = |object: &str| plan.references.iter().any(|(_, name)| name == object);
        if let Ok(Standing::BrokenOff(_) | Standing::NotBegun) = standing {
            return error;
        }
        match error.into_detail() {
            // The last names were published, but may not be durable.
            Ok(BlockError::Io { object, source, .. } | BlockError::NoSpace { object, source, .. })
                if is_decided(&object) =>
            {
                let name = RefName::from_object(&object).map_or(object, |name| name.to_string());
                StoreError::OutcomeUnknown { what: "name", name, source }.into()
            }
            Ok(failure) => failure.into(),
            Err(error) => error,
        }
    }

    /// Makes the target folders of the plan durable.
    fn prepare_folders(&self, plan: &Plan) -> Result<()> {
        let names = plan.groups().into_iter().flatten().map(|(_, name)| name.clone());
        let names: Vec<String> = [self.staged(JOURNAL)].into_iter().chain(names).collect();
        self.shared.storage.prepare(&names).map_err(|error| {
            self.shared.poison();
            Error::io("sync", format!("the folders that {} publishes to", self.folder), error)
        })
    }

    fn remove_journal(&self) -> Result<()> {
        let journal = self.staged(JOURNAL);
        self.shared.storage.remove(std::slice::from_ref(&journal)).map_err(|error| {
            self.shared.poison();
            Error::io("remove", journal, error)
        })
    }

    /// Creates the references' objects.
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

    /// Fails if a name may not be given.
    fn check_name(&self, name: &RefName, image: &Digest, naming: Naming) -> Result<()> {
        let is_free = match naming {
            Naming::Replace => true,
            _ if !self.is_there(&name.object())? => true,
            Naming::New => false,
            Naming::Same => self.shared.reference(name).is_ok_and(|found| found.image == *image),
        };
        if is_free { Ok(()) } else { Err(StoreError::Exists { what: "name", name: name.to_string() }.into()) }
    }

    /// Returns the journal of a plan, and the growth of the store in bytes. Also keeps copies of the
    /// objects to be replaced.
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
                    if self.keep_old(name, &unnamed(&copy))? {
                        journal.restore.push((name.clone(), copy));
                    }
                }
            }
        }
        Ok((journal, u64::saturating_sub(grown, old)))
    }

    /// Keeps an object that is about to be replaced, under a staged name: by a second name for any
    /// length, otherwise as a copy. Returns false if it is not kept; then its replacement stays even if
    /// the commit is undone.
    fn keep_old(&self, name: &str, staged: &str) -> Result<bool> {
        match self.shared.storage.link(name, &self.staged(staged)) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(error) => return Err(Error::io("keep the old", name, error)),
        }
        // Packs may be gigabytes long. A pack is replaced only if its bytes do not match its name, by one
        // whose bytes do. The replacement has every frame that was readable before.
        if name.starts_with(names::PACKS) {
            return Ok(false);
        }
        self.copy(name, staged)
    }

    /// Copies an object of the store into this stage; false where it cannot be read.
    fn copy(&self, name: &str, staged: &str) -> Result<bool> {
        const PIECE_LEN: u64 = 1 << 20;
        let from = self.shared.storage.open(name).map_err(|error| StoreError::unopened(name, error))?;
        let to = self.create(staged)?;
        for offset in (0..from.len()).step_by(PIECE_LEN as usize) {
            let piece = match read_range(from.as_ref(), name, offset, PIECE_LEN.min(from.len() - offset)) {
                Ok(piece) => piece,
                Err(error) if error.kind() == ErrorKind::Io => return Ok(false),
                Err(error) => return Err(error),
            };
            self.append(to.as_ref(), staged, &piece)?;
        }
        Ok(true)
    }

    pub(super) fn is_there(&self, name: &str) -> Result<bool> {
        Ok(self.len_of(name)?.is_some())
    }

    /// Returns the length of an existing object. Other errors do not count as absence: an object taken
    /// for missing would be overwritten, and removed if the commit fails.
    pub(super) fn len_of(&self, name: &str) -> Result<Option<u64>> {
        match self.shared.storage.open(name) {
            Ok(object) => Ok(Some(object.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::unopened(name, error)),
        }
    }

    pub(super) fn publish(&self, moves: &[(String, String)]) -> Result<()> {
        let target = moves.first().map_or("", |moved| moved.1.as_str());
        self.shared.storage.publish(moves).map_err(|error| {
            self.shared.poison();
            Error::io("publish", target, error)
        })
    }
}

/// Returns the name of a copy until it is complete.
fn unnamed(copy: &str) -> String {
    format!("{copy}-new")
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
