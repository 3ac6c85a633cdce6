//! Wakes tasks when this thread holds none of the locks of [`mutex`](super::mutex).

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::task::Waker;

thread_local! {
    /// The number of [`DeferredWakes`] that exist on this thread.
    static DEFERRALS: Cell<usize> = const { Cell::new(0) };
    static WAKES: RefCell<Vec<Wake>> = const { RefCell::new(Vec::new()) };
}

enum Wake {
    Wake(Waker),
    Drop(Waker),
}

/// Keeps the wakes of this thread back, until the last of these values is dropped.
///
/// A waker is code of a runtime, and can drop the last reference to a task. The task's future then locks what it waits for, so
/// no waker may be woken or dropped under that lock.
#[must_use]
#[derive(Debug)]
pub(crate) struct DeferredWakes {
    /// The state is a thread's.
    _not_send: PhantomData<*const ()>,
}

impl DeferredWakes {
    #[inline]
    pub(crate) fn begin() -> Self {
        // Without thread-local variables, at the end of a thread, wakes aren't kept back.
        let _ = DEFERRALS.try_with(|deferrals| deferrals.set(deferrals.get() + 1));
        Self { _not_send: PhantomData }
    }
}

impl Drop for DeferredWakes {
    #[inline]
    fn drop(&mut self) {
        let is_last = DEFERRALS.try_with(|deferrals| {
            deferrals.set(deferrals.get() - 1);
            deferrals.get() == 0
        });
        // Each lock ends here, and most of the time there is no wake.
        if is_last == Ok(true) && WAKES.try_with(|wakes| !wakes.borrow().is_empty()) == Ok(true) {
            run_deferred();
        }
    }
}

#[cold]
fn run_deferred() {
    let Ok(mut wakes) = WAKES.try_with(RefCell::take) else { return };
    wakes.drain(..).for_each(Wake::run);
    // The memory is kept for the next ones, unless there are some already.
    let _ = WAKES.try_with(|next| {
        let mut next = next.borrow_mut();
        if next.is_empty() {
            *next = wakes;
        }
    });
}

impl Wake {
    fn run(self) {
        match self {
            Self::Wake(waker) => waker.wake(),
            Self::Drop(waker) => drop(waker),
        }
    }

    fn defer(self) {
        let is_deferred = DEFERRALS.try_with(|deferrals| deferrals.get() > 0) == Ok(true);
        if !is_deferred {
            return self.run();
        }
        let mut wake = Some(self);
        let _ = WAKES.try_with(|wakes| wakes.borrow_mut().extend(wake.take()));
        wake.into_iter().for_each(Self::run);
    }
}

/// Wakes a task, as soon as this thread holds none of those locks.
pub(crate) fn wake(waker: Waker) {
    Wake::Wake(waker).defer();
}

/// Drops a waker, as soon as this thread holds none of those locks.
pub(crate) fn drop_waker(waker: Waker) {
    Wake::Drop(waker).defer();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake as Woken;

    use super::*;
    use crate::sys::mutex::Mutex;

    /// Locks the mutex when it is woken, and when it is dropped.
    #[derive(Default)]
    struct Task {
        mutex: Arc<Mutex<u32>>,
        wakes: Arc<AtomicUsize>,
    }

    impl Woken for Task {
        fn wake(self: Arc<Self>) {
            *self.mutex.lock() += 1;
            self.wakes.fetch_add(1, SeqCst);
        }
    }

    impl Drop for Task {
        fn drop(&mut self) {
            *self.mutex.lock() += 100;
        }
    }

    /// Without that feature no lock defers anything.
    #[cfg(feature = "_async")]
    #[test]
    fn tasks_are_woken_and_dropped_after_the_last_lock() {
        let task = Task::default();
        let (mutex, wakes) = (Arc::clone(&task.mutex), Arc::clone(&task.wakes));
        let other = Mutex::new(());
        let waker = Waker::from(Arc::new(task));
        let guards = (mutex.lock(), other.lock());
        wake(waker.clone());
        drop_waker(waker);
        drop(guards.0);
        assert_eq!((wakes.load(SeqCst), *mutex.lock()), (0, 0));
        drop(guards.1);
        assert_eq!((wakes.load(SeqCst), *mutex.lock()), (1, 101));
    }

    #[test]
    fn tasks_are_woken_at_once_without_a_lock() {
        let task = Task::default();
        let wakes = Arc::clone(&task.wakes);
        wake(Waker::from(Arc::new(task)));
        assert_eq!(wakes.load(SeqCst), 1);
    }
}
