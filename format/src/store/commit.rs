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
//! A commit that needs nothing but one reference has no journal: that reference is given in one step.
//!
//! A reader follows names downwards, so each name appears after everything it refers to. The references
//! decide: once they are published, the commit has happened. Otherwise the next process that takes the
//! store's lock to write undoes it. No other writer can have used those objects, because writers read
//! committed objects under the same lock.

use std::time::{SystemTime, UNIX_EPOCH};

use super::journal::{
    DONE, JOURNAL, Journal, NOTE, Standing, old_name, recover, roll_back, standing, was_completed,
};
use super::merge::StagedList;
use super::names::{self, RefName};
use super::objects::read_range;
use super::stage::{Move, Moves, Stage};
use crate::digest::{Digest, ImageId, object_digest};
use crate::error::{BlockError, Error, ErrorKind, Result, StoreError};
use crate::ondisk::reference::Reference;
use crate::storage::ObjectName;

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
    pub references: Vec<(RefName, ImageId)>,
    /// The rule for existing names.
    pub on_existing: OnExisting,
    /// The time of the names, in seconds since 1970 UTC; `None` means now.
    pub created_seconds: Option<u64>,
    /// Objects that must exist already: the images need them, and this commit does not bring them.
    pub needs: Vec<ObjectName>,
}

/// The rule for a name that already exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnExisting {
    /// The commit fails.
    #[default]
    Fail,
    /// A name of the same image is given again; with another image, the commit fails.
    KeepIfSame,
    /// The name gets the new image.
    Replace,
}

impl OnExisting {
    /// Converts the user's choice.
    pub fn replacing(replace: bool) -> Self {
        if replace { Self::Replace } else { Self::Fail }
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

    /// Returns a journal of the references alone.
    fn references_alone(&self) -> Journal {
        let names = self.references.iter().map(|(_, name)| name.clone());
        Journal { references: names.zip(self.digests.iter().copied()).collect(), ..Journal::default() }
    }

    /// Returns the only move, if one rename is the whole commit: one reference, and nothing that it needs.
    fn only_reference(&self) -> Option<&Move> {
        let mut moves = self.groups().into_iter().flatten();
        let first = moves.next()?;
        (moves.next().is_none() && self.references.len() == 1).then_some(first)
    }
}

impl Stage {
    /// Gives a name to an existing image. The caller must have held the store's lock since before this
    /// stage began.
    pub fn commit_reference(
        mut self,
        image: ImageId,
        name: &RefName,
        replace: bool,
        created_seconds: Option<u64>,
    ) -> Result<()> {
        let references = vec![(name.clone(), image)];
        let on_existing = OnExisting::replacing(replace);
        let publication = Publication { references, on_existing, created_seconds, ..Publication::default() };
        self.check_names(&publication)?;
        let missing = self.still_missing(&publication, Default::default())?;
        let (references, digests) = self.stage_references(&publication)?;
        self.sync_all()?;
        self.publish_plan(&Plan { references, digests, ..missing })?;
        self.clear_under_lock();
        Ok(())
    }

    /// Commits as the module docs describe. Returns the growth of the store in bytes. Calls `on_committed`
    /// once the commit is done and the store's lock is free, while the folder still exists.
    pub fn commit(mut self, publication: &Publication, on_committed: impl FnOnce(&Self)) -> Result<u64> {
        let (references, digests) = self.stage_references(publication)?;
        let prepared = self.prepare(publication)?;
        self.sync_all()?;
        let lock = self.shared.lock()?;
        // A sync of another import through this handle may have failed since this one began.
        self.shared.check_writable()?;
        recover(&self.shared)?;
        self.check_names(publication)?;
        let plan = Plan { references, digests, ..self.still_missing(publication, prepared)? };
        let published = self.publish_plan(&plan);
        publication.lists.iter().for_each(|list| self.shared.reader.lists.forget(&list.id));
        let grown = published?;
        if self.held.is_none() {
            return Ok(grown);
        }
        drop(lock);
        on_committed(&self);
        self.clear();
        Ok(grown + self.shared.take_made_bytes())
    }

    /// Publishes a plan, all of it or nothing. Returns the growth of the store in bytes. The caller must
    /// hold the store's lock and have synced the staged objects.
    fn publish_plan(&mut self, plan: &Plan) -> Result<u64> {
        match plan.only_reference() {
            Some(moved) => self.publish_reference(plan, moved),
            None => self.publish_journalled(plan),
        }
    }

    /// Publishes a plan of one reference, which needs no journal: one rename gives it or does not.
    fn publish_reference(&mut self, plan: &Plan, (staged, name): &Move) -> Result<u64> {
        let [grown, old] = [self.len_of(staged)?, self.len_of(name)?].map(|len| len.unwrap_or(0));
        // Other processes see the name before the sync of its folder. If this one dies in between, the next
        // writer finds the note and syncs the folder. A loss of power needs no note, so it is not synced.
        let note = self.create_untracked(NOTE)?;
        self.append(note.as_ref(), NOTE, name.as_bytes())?;
        match self.publish(&plan.references) {
            Ok(()) => Ok(grown.saturating_sub(old)),
            Err(error) => match was_completed(&self.shared, &self.folder, &plan.references_alone()) {
                Ok(false) => Err(error),
                _ => {
                    // Keep the folder and its note for the next writer, as for a dead writer's.
                    self.held = None;
                    Err(unknown_outcome(plan, error))
                }
            },
        }
    }

    /// Publishes a plan that its journal can undo.
    fn publish_journalled(&mut self, plan: &Plan) -> Result<u64> {
        let (journal, grown) = self.journal(plan)?;
        self.put("journal-new", &journal.encode())?;
        if journal.references.is_empty() {
            self.put(&temporary_name(DONE), &[])?;
        }
        self.sync_all()?;
        self.prepare_folders(plan)?;
        // Published like all other names, so that the copies are durable before the journal that refers to
        // them.
        let copies: Moves = journal
            .restore
            .iter()
            .map(|(_, copy)| (self.staged(&temporary_name(copy)), self.staged(copy)))
            .collect();
        if !copies.is_empty() {
            self.publish(&copies)?;
        }
        self.publish(&[(self.staged("journal-new"), self.staged(JOURNAL))])?;
        self.keep_journal = true;
        if let Err(error) = self.publish_groups(plan) {
            return Err(self.take_back(plan, error));
        }
        // Remove the journal while the lock still keeps names from changing. If this writer died later and
        // one of its names had been changed or removed, the journal would look like that of a failed commit.
        match self.remove_journal() {
            Ok(()) => self.keep_journal = false,
            Err(error) => {
                tracing::warn!(folder = self.folder, %error, "cannot remove the journal of a finished commit");
                self.held = None;
            }
        }
        Ok(grown)
    }

    /// Publishes everything in the order that readers need.
    fn publish_groups(&self, plan: &Plan) -> Result<()> {
        let done = [(self.staged(&temporary_name(DONE)), self.staged(DONE))];
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
        if let Ok(Standing::BrokenOff(_) | Standing::NotBegun) = standing {
            return error;
        }
        unknown_outcome(plan, error)
    }

    /// Makes the target folders of the plan durable.
    fn prepare_folders(&self, plan: &Plan) -> Result<()> {
        let names = plan.groups().into_iter().flatten().map(|(_, name)| name.clone());
        let names: Vec<ObjectName> = [self.staged(JOURNAL)].into_iter().chain(names).collect();
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

    /// Fails if one of the names may not be given.
    fn check_names(&self, publication: &Publication) -> Result<()> {
        let mut names = publication.references.iter();
        names.try_for_each(|(name, image)| self.check_name(name, image, publication.on_existing))
    }

    fn check_name(&self, name: &RefName, image: &ImageId, on_existing: OnExisting) -> Result<()> {
        let is_free = match on_existing {
            OnExisting::Replace => true,
            _ if !self.is_there(&name.object())? => true,
            OnExisting::Fail => false,
            OnExisting::KeepIfSame => {
                self.shared.reader.reference(name).is_ok_and(|found| found.image == *image)
            }
        };
        if is_free { Ok(()) } else { Err(StoreError::Exists { what: "name", name: name.to_string() }.into()) }
    }

    /// Returns the journal of a plan, and the growth of the store in bytes. Also keeps copies of the
    /// objects to be replaced.
    fn journal(&self, plan: &Plan) -> Result<(Journal, u64)> {
        let mut journal = plan.references_alone();
        let (mut grown, mut old) = (0, 0);
        for (staged, name) in plan.groups().into_iter().flatten() {
            grown += self.len_of(staged)?.unwrap_or(0);
            match self.len_of(name)? {
                None => journal.new.push(name.clone()),
                Some(len) => {
                    old += len;
                    let copy = old_name(journal.restore.len());
                    if self.keep_old(name, &temporary_name(&copy))? {
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
    fn keep_old(&self, name: &ObjectName, staged: &str) -> Result<bool> {
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
    fn copy(&self, name: &ObjectName, staged: &str) -> Result<bool> {
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

    pub(super) fn is_there(&self, name: &ObjectName) -> Result<bool> {
        Ok(self.len_of(name)?.is_some())
    }

    /// Returns the length of an existing object. Other errors do not count as absence: an object taken
    /// for missing would be overwritten, and removed if the commit fails.
    pub(super) fn len_of(&self, name: &ObjectName) -> Result<Option<u64>> {
        match self.shared.storage.open(name) {
            Ok(object) => Ok(Some(object.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::unopened(name, error)),
        }
    }

    pub(super) fn publish(&self, moves: &[Move]) -> Result<()> {
        let target = moves.first().map_or("", |moved| moved.1.as_str());
        self.shared.storage.publish(moves).map_err(|error| {
            self.shared.poison();
            Error::io("publish", target, error)
        })
    }
}

/// Returns the error of a commit whose last names were published, but may not be durable.
fn unknown_outcome(plan: &Plan, error: Error) -> Error {
    let is_decided = |object: &str| plan.references.iter().any(|(_, name)| name.as_str() == object);
    match error.into_detail() {
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

/// Returns the name of a copy until it is complete.
fn temporary_name(copy: &str) -> String {
    format!("{copy}-new")
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
