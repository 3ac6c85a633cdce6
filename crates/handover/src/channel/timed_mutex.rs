//! A mutex with a deadline for locking, which tasks wait for beside threads.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::tasks::Senders;
use crate::sys::DeferredEvents;
use crate::wait::Deadline;

/// A mutex that one thread at a time holds, and that other threads wait for up to a deadline.
///
/// A thread can hold it for as long as a send waits, and reads meanwhile. The tasks to which it gives what it has read are woken at
/// once, so this isn't one of [`sys::mutex`](crate::sys::mutex), which would keep their wakes back. A task, and the end of its future,
/// only try to lock it. Poisoning is ignored, as there: each user leaves a value that fits if a waker panics.
///
/// The fields lie in memory in this order: a lock that no thread waits for doesn't use the last two.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TimedMutex<T> {
    /// The number of waiting threads.
    waiting: AtomicUsize,
    value: Mutex<T>,
    /// The tasks that wait.
    pub(super) tasks: Senders,
    /// Held by a waiting thread between its last try to lock and its wait on `released`, so that it can't miss a
    /// notification in between.
    gate: Mutex<()>,
    released: Condvar,
}

impl<T> TimedMutex<T> {
    /// The length of what a lock uses that no thread or task waits for.
    #[cfg(test)]
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) const UNCONTENDED: usize = std::mem::offset_of!(Self, tasks) + size_of::<AtomicUsize>();

    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            gate: Mutex::new(()),
            released: Condvar::new(),
            waiting: AtomicUsize::new(0),
            tasks: Senders::default(),
        }
    }

    /// Locks the mutex for the task whose turn it is, if no thread has it.
    #[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
    pub(super) fn take_for_task(&self) -> Option<TimedMutexGuard<'_, T>> {
        let mut guard = self.take()?;
        guard.is_for_task = true;
        Some(guard)
    }

    /// Locks the mutex if it is free. Returns `None` otherwise.
    #[inline]
    pub(crate) fn take(&self) -> Option<TimedMutexGuard<'_, T>> {
        let events = DeferredEvents::begin();
        let guard = match self.value.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(TimedMutexGuard { mutex: self, guard: Some(guard), is_for_task: false, _events: events })
    }

    /// Locks the mutex, or returns `None` if the deadline passes first.
    pub(crate) fn wait(&self, deadline: Deadline) -> Option<TimedMutexGuard<'_, T>> {
        self.take().or_else(|| self.wait_behind_others(deadline))
    }

    fn wait_behind_others(&self, deadline: Deadline) -> Option<TimedMutexGuard<'_, T>> {
        let _events = DeferredEvents::begin();
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.left();
            if left.is_zero() {
                return self.take();
            }
            self.waiting.fetch_add(1, SeqCst);
            // The holder unlocks first and then reads the number of waiting threads. This thread does it in the
            // opposite order: it counts itself first and then tries to lock. The fences order both, so at least one of
            // the two sees the other.
            fence(SeqCst);
            if let Some(guard) = self.take() {
                self.waiting.fetch_sub(1, SeqCst);
                return Some(guard);
            }
            (gate, _) = self.released.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner);
            self.waiting.fetch_sub(1, SeqCst);
        }
    }

    /// Returns whether a thread is waiting for the mutex.
    fn is_wanted(&self) -> bool {
        self.waiting.load(SeqCst) != 0
    }
}

/// A guard of a `TimedMutex`. Dropping it unlocks the mutex.
#[derive(Debug)]
pub(crate) struct TimedMutexGuard<'a, T> {
    mutex: &'a TimedMutex<T>,
    guard: Option<MutexGuard<'a, T>>,
    /// A task doesn't wake itself. It wakes the next one when it has done its work.
    is_for_task: bool,
    /// Emits the events after `drop` has woken the next thread.
    _events: DeferredEvents,
}

impl<T> Deref for TimedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("only drop removes the guard")
    }
}

impl<T> DerefMut for TimedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("only drop removes the guard")
    }
}

impl<T> Drop for TimedMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.guard = None;
        fence(SeqCst);
        if self.mutex.is_wanted() {
            // A counted thread holds the gate until it waits on `released`. Locking the gate once makes sure of that.
            drop(self.mutex.gate.lock().unwrap_or_else(PoisonError::into_inner));
            self.mutex.released.notify_one();
        }
        if !self.is_for_task {
            self.mutex.tasks.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lock_is_exclusive_and_a_wait_ends_at_its_deadline() {
        let mutex = TimedMutex::new(0);
        let first = mutex.wait(Deadline::NEVER).expect("free");
        assert!(mutex.wait(Deadline::after(Duration::ZERO)).is_none());
        assert!(mutex.wait(Deadline::after(Duration::from_millis(30))).is_none());
        assert!(!mutex.is_wanted());
        std::thread::scope(|scope| {
            scope.spawn(|| mutex.wait(Deadline::after(Duration::from_secs(10))).map(drop));
            while !mutex.is_wanted() {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert!(!mutex.is_wanted());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        *mutex.wait(Deadline::after(Duration::from_secs(10))).expect("locked in time") += 1;
                    }
                });
            }
        });
        assert_eq!(*mutex.wait(Deadline::NEVER).expect("free"), 800);
    }
}
