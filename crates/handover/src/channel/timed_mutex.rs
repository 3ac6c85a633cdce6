//! A mutex that can be waited for until a deadline.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::wait::Deadline;

/// What one thread uses at a time.
#[derive(Debug)]
pub(crate) struct TimedMutex<T> {
    value: Mutex<T>,
    /// Held by who looks once more before waiting, so that nobody is told before it waits.
    gate: Mutex<()>,
    back: Condvar,
    /// How many wait for it.
    waiting: AtomicUsize,
}

impl<T> TimedMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            gate: Mutex::new(()),
            back: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The turn, if nobody has it.
    pub(crate) fn take(&self) -> Option<Holding<'_, T>> {
        let guard = match self.value.try_lock() {
            Ok(guard) => guard,
            // What a panic has left is whole: nothing in here panics halfway.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Holding { turn: self, guard: Some(guard) })
    }

    /// Waits for one's turn; `None` if it didn't come in time.
    pub(crate) fn wait(&self, deadline: Deadline) -> Option<Holding<'_, T>> {
        self.take().or_else(|| self.wait_behind_others(deadline))
    }

    /// The same, for at least this long even if the deadline is sooner. A turn that is free asks no clock.
    pub(crate) fn wait_at_least(&self, time: Duration, deadline: Deadline) -> Option<Holding<'_, T>> {
        self.take().or_else(|| self.wait_behind_others(deadline.or_later(time)))
    }

    fn wait_behind_others(&self, deadline: Deadline) -> Option<Holding<'_, T>> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.left();
            if left.is_zero() {
                return self.take();
            }
            self.waiting.fetch_add(1, SeqCst);
            // Who has it gives it back first and looks then whether somebody waits; here it is the other way round. One
            // of the two sees the other.
            fence(SeqCst);
            if let Some(holding) = self.take() {
                self.waiting.fetch_sub(1, SeqCst);
                return Some(holding);
            }
            (gate, _) = self.back.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner);
            self.waiting.fetch_sub(1, SeqCst);
        }
    }

    /// Whether somebody waits for it: who has taken it often leaves it to them for a while.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(SeqCst) != 0
    }
}

/// One's turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Holding<'a, T> {
    turn: &'a TimedMutex<T>,
    guard: Option<MutexGuard<'a, T>>,
}

impl<T> Deref for Holding<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("only dropping takes it")
    }
}

impl<T> DerefMut for Holding<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("only dropping takes it")
    }
}

impl<T> Drop for Holding<'_, T> {
    fn drop(&mut self) {
        self.guard = None;
        fence(SeqCst);
        if self.turn.is_wanted() {
            // Who counts as waiting has the gate until it really waits.
            drop(self.turn.gate.lock().unwrap_or_else(PoisonError::into_inner));
            self.turn.back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_not_for_ever() {
        let turn = TimedMutex::new(0);
        let first = turn.wait(Deadline::NEVER).expect("free");
        assert!(turn.wait(Deadline::after(Duration::ZERO)).is_none());
        assert!(turn.wait(Deadline::after(Duration::from_millis(30))).is_none());
        let began = std::time::Instant::now();
        assert!(turn.wait_at_least(Duration::from_millis(30), Deadline::after(Duration::ZERO)).is_none());
        assert!(began.elapsed() >= Duration::from_millis(30));
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
