//! Checks the objects that a writer reuses, once for each import or load, on demand.
//!
//! Sharing reads no frames. So a writer checks the packs of a list before it shares the list's chunks. It
//! checks head, trailer, and the length and stamp recorded when the pack was last good (`stamps`). A pack
//! that changed, or has no record, is read whole, and all its frames are checked against their guards. Chunks
//! listed in a note (`notes`) are decoded. Sound objects are recorded as good. Damaged ones are not
//! shared, and are noted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::notes::{self, Notes};
use super::stamps::{self, Recalled};
use crate::digest::{ListId, PackId, PageFileId};
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::pack::{self, FRAMES_OFFSET};
use crate::storage::{ObjectName, ReadAt};
use crate::store::StoreErrors;
use crate::store::list::{List, Locator};
use crate::store::runs::Runs;
use crate::store::{StoreInner, VerifyMode, names, read_range, scrub};

/// The state of a pack.
#[derive(Debug)]
enum Pack {
    /// Sound.
    Sound,
    /// Sound except for the frames at these offsets.
    Hurt(BTreeSet<u32>),
    /// Missing, or its bytes do not match its name.
    Unsound,
}

/// The damage a writer found in the store's objects, and the earlier notes.
#[derive(Debug)]
pub(crate) struct Health {
    shared: Arc<StoreInner>,
    /// The notes at the start.
    notes: Notes,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    packs: HashMap<PackId, Arc<Pack>>,
    page_files: HashMap<PageFileId, bool>,
    /// For each list, the chunks that must not be reused.
    lists: HashMap<ListId, Arc<Runs>>,
    /// Lists with damage in their own pages, or in those of their locators.
    tables: BTreeSet<ListId>,
    /// The first problem of each object.
    reasons: BTreeMap<String, String>,
    /// Noted chunks and objects that turned out to be whole.
    whole: Notes,
}

impl Health {
    /// Reads the notes, and checks nothing yet.
    pub fn new(shared: &Arc<StoreInner>) -> Self {
        Self { shared: shared.clone(), notes: Notes::read(shared), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the chunks of a list that must not be reused: each is damaged, or lies in an unsound pack.
    ///
    /// # Errors
    /// Errors of the medium; damage of the list's locator.
    pub fn of_list(&self, list: &List) -> Result<Arc<Runs>> {
        if let Some(known) = self.state().lists.get(&list.id) {
            return Ok(known.clone());
        }
        let locator = list.locator()?;
        let mut bad = Runs::default();
        self.in_bad_packs(list, &locator, &mut bad)?;
        if let Some(noted) = self.notes.chunks.get(&list.id) {
            self.noted(list, noted, &mut bad)?;
        }
        let bad = Arc::new(bad);
        self.state().lists.insert(list.id, bad.clone());
        Ok(bad)
    }

    /// Adds a chunk that could not be decoded.
    pub fn add(&self, list: &ListId, chunk: u64, error: &Error) {
        let mut state = self.state();
        let known = state.lists.entry(*list).or_default();
        Arc::make_mut(known).add(chunk, chunk + 1);
        state.tell(error, &names::list(list));
    }

    /// Records damage in the pages of a list or of its locator.
    pub fn add_tables(&self, list: &ListId, error: &Error) {
        let mut state = self.state();
        state.tables.insert(*list);
        state.tell(error, &names::list(list));
    }

    /// Adds all chunks of a list whose root cannot be read.
    pub fn add_all(&self, list: &List) {
        let mut state = self.state();
        state.tables.insert(list.id);
        Arc::make_mut(state.lists.entry(list.id).or_default()).add(0, list.shape.chunks());
        let name = list.object_name();
        state.reasons.entry(String::from(&name)).or_insert_with(|| format!("{name} is damaged"));
    }

    /// Whether a page file may be reused.
    ///
    /// # Errors
    /// Errors of the medium.
    pub fn page_file(&self, id: &PageFileId) -> Result<bool> {
        if let Some(known) = self.state().page_files.get(id) {
            return Ok(*known);
        }
        let name = names::page_file(id);
        let look = || -> Result<()> {
            let object = scrub::open_anew(self.shared.storage.as_ref(), &name)?;
            let is_noted = self.notes.objects.contains(&name);
            let recalled = stamps::recall(&self.shared, &id.digest(), object.as_ref());
            if !is_noted && matches!(recalled, Recalled::Read(_)) {
                return Ok(());
            }
            scrub::check_page_file(object.as_ref(), &name)?;
            stamps::remember(&self.shared, &id.digest(), object.as_ref(), &BTreeSet::new());
            self.state().whole.objects.insert(name.clone());
            Ok(())
        };
        let is_sound = self.judge(&name, look())?.is_some();
        self.state().page_files.insert(*id, is_sound);
        Ok(is_sound)
    }

    /// Turns damage into `None` and records it.
    fn judge<T>(&self, name: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                self.state().tell(&error, name);
                Ok(None)
            }
        }
    }

    /// Adds the chunks with a bad frame, or with a frame in an unsound pack.
    fn in_bad_packs(&self, list: &List, locator: &Locator, bad: &mut Runs) -> Result<()> {
        let packs = &locator.root.packs;
        let packs = packs.iter().map(|id| self.pack(id)).collect::<Result<Vec<_>>>()?;
        if packs.iter().all(|pack| matches!(**pack, Pack::Sound)) {
            return Ok(());
        }
        let is_bad = |pack: u32, offset: u32| match packs.get(pack as usize).map(|pack| &**pack) {
            Some(Pack::Sound) => false,
            Some(Pack::Hurt(offsets)) => offsets.contains(&offset),
            Some(Pack::Unsound) | None => true,
        };
        for page in 0..list.shape.pages() {
            let first = page * TABLE_PAGE_RECORDS;
            let chunks = first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks());
            for chunk in chunks.clone() {
                match self.any_place(list, locator, chunk, &is_bad) {
                    Ok(true) => bad.add(chunk, chunk + 1),
                    Ok(false) => {}
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => {
                        self.add_tables(&list.id, &error);
                        bad.add(chunks.start, chunks.end);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a chunk has a frame at a bad place.
    fn any_place(
        &self,
        list: &List,
        locator: &Locator,
        chunk: u64,
        is_bad: &impl Fn(u32, u32) -> bool,
    ) -> Result<bool> {
        if locator.record(&self.shared.reader.objects, chunk)?.is_absent() {
            return Ok(false);
        }
        for place in list.chain(locator, chunk) {
            let place = place?;
            if is_bad(place.pack, place.offset) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decodes noted chunks, and adds those that are damaged.
    fn noted(&self, list: &List, noted: &Runs, bad: &mut Runs) -> Result<()> {
        let end = list.shape.chunks();
        let known = &*bad;
        let chunks: Vec<u64> = noted
            .iter()
            .flat_map(|(start, stop)| start.min(end)..stop.min(end))
            .filter(|chunk| !known.has(*chunk))
            .collect();
        let looked: Vec<_> = chunks.par_iter().map(|chunk| (*chunk, self.decode(list, *chunk))).collect();
        for (chunk, result) in looked {
            match self.judge(&names::list(&list.id), result)? {
                Some(()) => self.state().whole.chunks.entry(list.id).or_default().add(chunk, chunk + 1),
                None => bad.add(chunk, chunk + 1),
            }
        }
        Ok(())
    }

    /// Decodes chunks not yet known to be damaged, and adds those that are.
    pub fn decode_all(&self, list: &List, chunks: std::ops::Range<u64>) -> Result<()> {
        let bad = self.suspects_of(&list.id);
        let looked: Vec<_> = chunks
            .into_par_iter()
            .filter(|chunk| !bad.has(*chunk))
            .map(|chunk| (chunk, self.decode(list, chunk)))
            .collect();
        for (chunk, result) in looked {
            match result {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => self.add(&list.id, chunk, &error),
            }
        }
        Ok(())
    }

    /// Decodes a chunk and checks its id. An absent chunk is not damaged.
    pub fn decode(&self, list: &List, chunk: u64) -> Result<()> {
        if list.record(chunk)?.is_absent() {
            return Ok(());
        }
        let id = list.chunk_id(chunk)?;
        self.shared.reader.load_chunk(list, chunk, &id, VerifyMode::Full).map(|_| ())
    }

    fn pack(&self, id: &PackId) -> Result<Arc<Pack>> {
        if let Some(known) = self.state().packs.get(id) {
            return Ok(known.clone());
        }
        let name = names::pack(id);
        let looked = self.look_at_pack(id, &name);
        let pack = Arc::new(self.judge(&name, looked)?.unwrap_or(Pack::Unsound));
        self.state().packs.insert(*id, pack.clone());
        Ok(pack)
    }

    fn look_at_pack(&self, id: &PackId, name: &ObjectName) -> Result<Pack> {
        let object = scrub::open_anew(self.shared.storage.as_ref(), name)?;
        let is_noted = self.notes.objects.contains(name);
        let bad = match stamps::recall(&self.shared, &id.digest(), object.as_ref()) {
            Recalled::Changed => return self.read_pack(id, name, object.as_ref()),
            _ if is_noted => return self.read_pack(id, name, object.as_ref()),
            Recalled::NoStamp => BTreeSet::new(),
            Recalled::Read(bad) => bad,
        };
        let head = read_range(object.as_ref(), name, 0, FRAMES_OFFSET)?;
        pack::decode_head(&head).map_err(|fault| StoreError::corrupt(name, 0, fault))?;
        scrub::pack_trailer(object.as_ref(), name)?;
        Ok(if bad.is_empty() { Pack::Sound } else { Pack::Hurt(bad) })
    }

    /// Reads a whole pack.
    fn read_pack(&self, id: &PackId, name: &ObjectName, object: &dyn ReadAt) -> Result<Pack> {
        let records = scrub::check_pack(object, name)?;
        let (bad, first) = scrub::bad_frames(object, name, &records)?;
        stamps::remember(&self.shared, &id.digest(), object, &bad);
        self.state().whole.objects.insert(name.clone());
        match first {
            None => Ok(Pack::Sound),
            Some(error) => {
                self.state().tell(&error, name);
                Ok(Pack::Hurt(bad))
            }
        }
    }

    /// Whether any damage was found.
    pub fn is_hurt(&self) -> bool {
        let state = self.state();
        !state.tables.is_empty()
            || state.page_files.values().any(|is_sound| !is_sound)
            || state.lists.values().any(|bad| !bad.is_empty())
    }

    /// Returns the chunks that must not be reused, for all checked lists.
    pub fn suspects(&self) -> BTreeMap<ListId, Arc<Runs>> {
        let state = self.state();
        state.lists.iter().filter(|(_, bad)| !bad.is_empty()).map(|(id, bad)| (*id, bad.clone())).collect()
    }

    /// Returns the chunks of one list that must not be reused; empty if the list was not checked.
    pub fn suspects_of(&self, list: &ListId) -> Arc<Runs> {
        self.state().lists.get(list).cloned().unwrap_or_default()
    }

    /// Returns the lists with damage in their own tables or those of their locators.
    pub fn tables(&self) -> BTreeSet<ListId> {
        self.state().tables.clone()
    }

    /// Returns the page files that are missing or unsound.
    pub fn bad_page_files(&self) -> BTreeSet<PageFileId> {
        let state = self.state();
        state.page_files.iter().filter(|(_, is_sound)| !**is_sound).map(|(id, _)| *id).collect()
    }

    /// Returns the packs that are missing, unsound, or have bad frames.
    pub fn bad_packs(&self) -> BTreeSet<PackId> {
        let state = self.state();
        state.packs.iter().filter(|(_, pack)| !matches!(***pack, Pack::Sound)).map(|(id, _)| *id).collect()
    }

    /// Returns the damage found, one text for each object, and the number of chunks that must not be
    /// reused.
    pub fn reasons(&self) -> (Vec<String>, u64) {
        let state = self.state();
        (state.reasons.values().cloned().collect(), state.lists.values().map(|bad| bad.count()).sum())
    }

    /// Writes notes of the damage found, and deletes notes of objects that are whole or have been healed
    /// since.
    pub fn note(&self, healed: &Notes) {
        let (found, whole) = {
            let state = self.state();
            let chunks = state.lists.iter().filter(|(_, bad)| !bad.is_empty());
            let packs = state.packs.iter().filter(|(_, pack)| matches!(***pack, Pack::Unsound));
            let pages = state.page_files.iter().filter(|(_, is_sound)| !**is_sound);
            let mut found = Notes {
                chunks: chunks.map(|(id, bad)| (*id, Runs::clone(bad))).collect(),
                objects: packs.map(|(id, _)| names::pack(id)).collect(),
            };
            found.objects.extend(pages.map(|(id, _)| names::page_file(id)));
            found.objects.extend(state.tables.iter().map(names::list));
            let mut whole = state.whole.clone();
            whole.add(healed);
            found.remove(healed);
            (found, whole)
        };
        // Notes of lists that no longer exist do no harm.
        notes::update(&self.shared, &found, &whole);
    }
}

impl State {
    fn tell(&mut self, error: &Error, name: &str) {
        let object = match error.detail() {
            Some(StoreError::Corrupt { object, .. }) if names::digest_of(object).is_some() => object,
            _ => name,
        };
        self.reasons.entry(object.into()).or_insert_with(|| match error.fault() {
            Some(RuleViolation::Missing) => format!("{object} is missing"),
            _ => error.to_string(),
        });
    }
}
