//! Findings of a verify for the next writer: notes of damage, and the packs and page files known to be
//! good. Nothing is noted if the store cannot be written to.

use std::collections::BTreeSet;

use super::verifier::Verifier;
use crate::digest::PackId;
use crate::error::StoreError;
use crate::index::{self, Notes};
use crate::store::names;

impl Verifier<'_> {
    /// Writes the findings as notes. Only a full verify of everything deletes notes.
    pub(super) fn note(&self, everything: bool) {
        let Some(shared) = self.store.filter(|shared| shared.check_writable().is_ok()) else { return };
        let mut found = Notes::default();
        for (list, bad) in &self.bad {
            match bad.runs() {
                [] => drop(found.objects.insert(names::list(list))),
                runs => {
                    let noted = found.chunks.entry(*list).or_default();
                    runs.iter().for_each(|(start, end)| noted.add(*start, *end));
                }
            }
        }
        for damage in &self.report.damaged {
            if let Some(StoreError::Corrupt { object, .. }) = damage.error.detail()
                && names::digest_of(object).is_some()
                && let Ok(name) = object.parse()
            {
                found.objects.insert(name);
            }
        }
        let settles = everything && self.options.full;
        let mut struck = if settles { Notes::read(shared) } else { Notes::default() };
        struck.remove(&found);
        index::update_notes(shared, &found, &struck);
        if settles {
            let hurt = self.hurt_packs();
            let good = self.sound.iter().filter(|(id, _)| !hurt.contains(&PackId::new(*id)));
            good.for_each(|(id, stamp)| stamp.remember(shared, id, &BTreeSet::new()));
        }
    }

    /// Returns the packs of lists with an unreadable chunk: some frame in one of them is bad.
    fn hurt_packs(&self) -> BTreeSet<PackId> {
        let hurt = self.bad.keys().filter_map(|id| self.lists.get(id)?.as_ref());
        hurt.filter_map(|list| list.packs().ok()).flatten().collect()
    }
}
