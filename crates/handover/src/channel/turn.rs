//! A mutex that can be waited for until a deadline.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::wait::Deadline;

/// What one thread uses at a time.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    /// Not here while somebody has it.
    value: Mutex<Option<T>>,
    back: Condvar,
    /// How many wait for it.
    waiting: AtomicUsize,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(Some(value)), back: Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    /// Waits for one's turn; `None` if it didn't come in time.
    pub(crate) fn wait(&self, deadline: Deadline) -> Option<Holding<'_, T>> {
        let mut slot = self.slot();
        loop {
            if let Some(value) = slot.take() {
                return Some(Holding { turn: self, value: Some(value) });
            }
            let left = deadline.left();
            if left.is_zero() {
                return None;
            }
            self.waiting.fetch_add(1, Relaxed);
            (slot, _) = self.back.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner);
            self.waiting.fetch_sub(1, Relaxed);
        }
    }

    /// Whether somebody waits for it: who has taken it often leaves it to them for a while.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Relaxed) != 0
    }

    fn slot(&self) -> MutexGuard<'_, Option<T>> {
        // A panic can't leave it half changed: the value is here or it isn't.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One's turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Holding<'a, T> {
    turn: &'a Turn<T>,
    value: Option<T>,
}

impl<T> Deref for Holding<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only dropping takes it")
    }
}

impl<T> DerefMut for Holding<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("only dropping takes it")
    }
}

impl<T> Drop for Holding<'_, T> {
    fn drop(&mut self) {
        *self.turn.slot() = self.value.take();
        // Whoever waits has said so before it let go of the slot.
        if self.turn.is_wanted() {
            self.turn.back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_at_a_time_and_not_for_ever() {
        let turn = Turn::new(0);
        let first = turn.wait(Deadline::NEVER).expect("free");
        assert!(turn.wait(Deadline::after(Duration::ZERO)).is_none());
        assert!(turn.wait(Deadline::after(Duration::from_millis(30))).is_none());
        assert!(!turn.is_wanted());
        std::thread::scope(|scope| {
            scope.spawn(|| turn.wait(Deadline::after(Duration::from_secs(10))).map(drop));
            while !turn.is_wanted() {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert!(!turn.is_wanted());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        *turn.wait(Deadline::after(Duration::from_secs(10))).expect("in turn") += 1;
                    }
                });
            }
        });
        assert_eq!(*turn.wait(Deadline::NEVER).expect("free"), 800);
    }
}
