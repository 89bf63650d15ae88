//! Handles of open files and folders.

use std::sync::{PoisonError, RwLock};

/// Open objects by small numbers. A lookup, done for every read, costs a shared lock and an index.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    slots: RwLock<Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    used: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { slots: RwLock::new(Slots { used: Vec::new(), free: Vec::new() }) }
    }
}

impl<T: Clone> Handles<T> {
    /// Stores `thing` and returns its number.
    pub fn open(&self, thing: T) -> u64 {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let at = slots.free.pop().unwrap_or(slots.used.len());
        if at == slots.used.len() {
            slots.used.push(Some(thing));
        } else {
            slots.used[at] = Some(thing);
        }
        at as u64
    }

    /// Returns the object with this number.
    pub fn get(&self, handle: u64) -> Option<T> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.used.get(usize::try_from(handle).ok()?)?.clone()
    }

    /// Removes the object and frees its number.
    pub fn close(&self, handle: u64) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let Ok(at) = usize::try_from(handle) else { return };
        let closed = slots.used.get_mut(at).and_then(Option::take);
        if closed.is_some() {
            slots.free.push(at);
        }
        drop(slots);
        // Drop the object after the lock, so that readers do not wait while it closes files.
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_only_when_they_were_taken_back() {
        let handles = Handles::default();
        let (one, two) = (handles.open("one"), handles.open("two"));
        assert_eq!((handles.get(one), handles.get(two)), (Some("one"), Some("two")));
        handles.close(one);
        handles.close(one);
        assert_eq!(handles.get(one), None);
        assert_eq!(handles.open("three"), one);
        assert_ne!(handles.open("four"), one);
        assert_eq!(handles.get(u64::MAX), None);
    }
}
