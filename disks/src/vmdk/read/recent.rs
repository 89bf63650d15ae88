//! A cache of the most recently used values.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of an extent, and the number of a value in it.
type Key = (u32, u64);
type Slots<T> = VecDeque<(Key, Arc<T>)>;

/// A cache of a fixed number of recently used values, so few that a linear search is cheaper than hashing.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    most: usize,
    slots: Mutex<Slots<T>>,
}

impl<T> Recent<T> {
    pub fn new(most: usize) -> Self {
        Self { most, slots: Mutex::default() }
    }

    pub fn get(&self, key: Key) -> Option<Arc<T>> {
        self.with(|slots| {
            let at = slots.iter().position(|(held, _)| *held == key)?;
            let slot = slots.remove(at)?;
            let value = slot.1.clone();
            slots.push_front(slot);
            Some(value)
        })
    }

    /// Returns the cached value, or else caches and returns this one.
    pub fn get_or_put(&self, key: Key, value: T) -> Arc<T> {
        if let Some(value) = self.get(key) {
            return value;
        }
        let value = Arc::new(value);
        self.with(|slots| {
            // Another thread may have been faster.
            if let Some((_, there)) = slots.iter().find(|(held, _)| *held == key) {
                return there.clone();
            }
            slots.truncate(self.most.saturating_sub(1));
            slots.push_front((key, value.clone()));
            value
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Slots<T>) -> R) -> R {
        // A panic inside leaves a valid cache, at worst a smaller one.
        act(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_longest_goes_first() {
        let recent = Recent::new(2);
        assert_eq!(*recent.get_or_put((0, 1), 'a'), 'a');
        assert_eq!(*recent.get_or_put((0, 2), 'b'), 'b');
        assert_eq!(*recent.get_or_put((0, 1), 'x'), 'a');
        recent.get_or_put((1, 1), 'c');
        assert_eq!(recent.get((0, 2)), None);
        assert_eq!(recent.get((0, 1)).as_deref(), Some(&'a'));
    }
}
