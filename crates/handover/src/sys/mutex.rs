//! The lock of this crate's own state.

use std::ops::{Deref, DerefMut};
use std::sync::{self, PoisonError};

use super::{DeferredEvents, DeferredWakes};

/// A mutex under which no code of a subscriber or of a task runs: a thread's events are emitted, and its tasks woken, after it
/// has unlocked.
///
/// Poisoning is ignored. Each user changes the value so that a panic can't leave it inconsistent.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let (events, wakes) = (DeferredEvents::begin(), DeferredWakes::begin());
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { guard, _wakes: wakes, _events: events }
    }
}

/// Unlocks the mutex, and then wakes the tasks and emits the events.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    guard: sync::MutexGuard<'a, T>,
    // Dropped after the guard, because they are declared after it.
    _wakes: DeferredWakes,
    _events: DeferredEvents,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
