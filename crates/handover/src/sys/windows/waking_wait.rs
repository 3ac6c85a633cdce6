//! `WakingWait`: a wait that wakes a task, in a thread that waits for up to 63 handles.
//!
//! The system's thread pool does the same, but it says of a wait that is ended at the moment of its signal neither that it has taken
//! the signal, nor that it hasn't. Under Wine 8 it loses such a signal. The threads here know what they have taken, so the end of a
//! wait returns it.
//!
//! A waker is code of a runtime, and can do anything: poll the task, or drop it, and with it this very wait. So the end of a wait never
//! waits for a waker, only for a thread that waits for handles, which it wakes.

use std::fmt;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForMultipleObjects, WaitForSingleObject};

use super::create_object::{event, set_event_in_callback};
use super::io::Owned;
use super::wait::{Waited, wait};
use super::{DeferredEvents, SysResult};
use crate::sys::{begin_thread, drop_waker};

/// The number of handles that one thread waits for, beside its own event: 63, because one call waits for at most 64.
const MAX_ENTRIES: usize = 63;

/// The time in milliseconds after which a thread without a handle to wait for exits, unless it is the first one.
const MAX_IDLE: u32 = 5_000;

/// One wait for a handle. Dropping it ends the wait. The wait changes the object as every wait does.
pub(crate) struct WakingWait {
    notice: Arc<Notice>,
    /// `None` if the handle was signaled already, and once the wait has ended.
    thread: Option<Arc<WaitThread>>,
    /// Keeps the handle open until the wait has ended.
    _handle: Arc<Owned>,
}

/// The state that a wait and its task share. The locks are std's, because the library's own asks a subscriber, which may not run on these threads.
struct Notice(Mutex<Told>);

struct Told {
    is_signaled: bool,
    waker: Option<Waker>,
}

impl Notice {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that waits.
struct WaitThread {
    /// The first thread exits only with the process.
    is_first: bool,
    /// Wakes the thread when its entries have changed. Resets itself.
    wake: Owned,
    state: Mutex<State>,
    /// Tells that the thread doesn't wait any more, or for other entries.
    looked: Condvar,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// Whether the thread waits. Otherwise it takes nothing before it looks at the entries again.
    is_waiting: bool,
    /// The number of its waits.
    round: u64,
}

struct Entry {
    notice: Arc<Notice>,
    /// The handle's value. The `WakingWait` keeps it open as long as the entry exists, or a wait for it is under way.
    handle: usize,
}

/// All threads that wait.
static THREADS: Mutex<Vec<Arc<WaitThread>>> = Mutex::new(Vec::new());

fn threads() -> MutexGuard<'static, Vec<Arc<WaitThread>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WakingWait {
    /// Begins to wait. If the handle is signaled already, [`poll`](Self::poll) returns that, and wakes nothing.
    pub(crate) fn begin(handle: Arc<Owned>, waker: &Waker) -> SysResult<Self> {
        let is_signaled = wait(handle.as_handle(), Some(0))? != Waited::TimedOut;
        let waker = (!is_signaled).then(|| waker.clone());
        let notice = Arc::new(Notice(Mutex::new(Told { is_signaled, waker })));
        let mut waiting = Self { notice, thread: None, _handle: handle };
        if !is_signaled {
            let handle = waiting._handle.as_raw_handle() as usize;
            let entry = Entry { notice: Arc::clone(&waiting.notice), handle };
            waiting.thread = Some(WaitThread::add(entry)?);
        }
        Ok(waiting)
    }

    /// Returns whether the handle was signaled, which ends the wait. If it wasn't, the wait wakes this task from now on.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut told = self.notice.lock();
        if told.is_signaled {
            return true;
        }
        if !told.waker.as_ref().is_some_and(|noted| noted.will_wake(waker)) {
            let replaced = told.waker.replace(waker.clone());
            drop(told);
            replaced.into_iter().for_each(drop_waker);
        }
        false
    }

    /// Lets the wait go on without a task, until [`poll`](Self::poll) gives it one. Returns false if it shouldn't, because
    /// it would keep a thread from exiting.
    pub(crate) fn rest(&self) -> bool {
        let waker = self.notice.lock().waker.take();
        waker.into_iter().for_each(drop_waker);
        self.thread.as_ref().is_some_and(|thread| thread.is_first)
    }

    /// Ends the wait. When it returns, nothing is taken any more. Returns whether the handle was signaled before.
    pub(crate) fn end(&mut self) -> bool {
        if let Some(thread) = self.thread.take() {
            thread.remove(&self.notice);
        }
        let mut told = self.notice.lock();
        let (is_signaled, waker) = (told.is_signaled, told.waker.take());
        drop(told);
        waker.into_iter().for_each(drop_waker);
        is_signaled
    }
}

impl Drop for WakingWait {
    fn drop(&mut self) {
        self.end();
    }
}

impl WaitThread {
    /// Adds an entry to a thread that has room for it.
    fn add(entry: Entry) -> SysResult<Arc<Self>> {
        // No code of a subscriber runs under the locks.
        let _events = DeferredEvents::begin();
        let mut threads = threads();
        let has_room = |thread: &&Arc<Self>| thread.state().entries.len() < MAX_ENTRIES;
        let thread = match threads.iter().find(has_room) {
            Some(thread) => Arc::clone(thread),
            None => {
                let (state, looked) = (Mutex::default(), Condvar::new());
                let thread = Self { is_first: threads.is_empty(), wake: event(false)?, state, looked };
                let thread = Arc::new(thread);
                let worker = Arc::clone(&thread);
                let work = move || worker.run();
                begin_thread(|| std::thread::Builder::new().name("handover waits".into()).spawn(work))?;
                threads.push(Arc::clone(&thread));
                thread
            }
        };
        let mut state = thread.state();
        state.entries.push(entry);
        if state.is_waiting {
            set_event_in_callback(thread.wake.as_handle());
        }
        drop(state);
        Ok(thread)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a wait's entry, unless its handle was signaled. When it returns, the thread doesn't wait for the handle.
    fn remove(&self, notice: &Arc<Notice>) {
        let mut state = self.state();
        let Some(index) = state.entries.iter().position(|entry| Arc::ptr_eq(&entry.notice, notice)) else {
            return;
        };
        state.entries.swap_remove(index);
        if !state.is_waiting {
            return;
        }
        set_event_in_callback(self.wake.as_handle());
        let round = state.round;
        // The thread runs no other code between its wait and the end of this one.
        while state.is_waiting && state.round == round {
            state = self.looked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the entries, and tells their tasks, until the thread isn't needed.
    fn run(&self) {
        let mut handles = Vec::<HANDLE>::with_capacity(1 + MAX_ENTRIES);
        let mut waited_for = Vec::<Arc<Notice>>::with_capacity(MAX_ENTRIES);
        let mut state = self.state();
        loop {
            waited_for.clear();
            handles.clear();
            for entry in &state.entries {
                waited_for.push(Arc::clone(&entry.notice));
                handles.push(entry.handle as HANDLE);
            }
            // The thread's own event comes last: of several that are signaled the first one is reported, and entries can change
            // all the time.
            handles.push(self.wake.as_raw_handle());
            let is_idle = state.entries.is_empty() && !self.is_first;
            state.is_waiting = true;
            state.round += 1;
            drop(state);
            let count = u32::try_from(handles.len()).expect("it is at most 64");
            // SAFETY: the pointer refers to `count` handles. The event is the thread's own. The others are open: each one's
            // `WakingWait` keeps it open, and `remove` waits until this thread looks at the entries again.
            let answer = unsafe {
                WaitForMultipleObjects(count, handles.as_ptr(), 0, if is_idle { MAX_IDLE } else { INFINITE })
            };
            state = self.state();
            state.is_waiting = false;
            let entries = waited_for.len();
            let signaled = match answer.wrapping_sub(WAIT_OBJECT_0) as usize {
                index if index < entries => Some(index),
                _ if answer == WAIT_FAILED => handles[..entries].iter().position(|handle| is_over(*handle)),
                _ => None,
            };
            let mut waker = None;
            if let Some(index) = signaled {
                let mut told = waited_for[index].lock();
                told.is_signaled = true;
                waker = told.waker.take();
                state.entries.retain(|entry| !Arc::ptr_eq(&entry.notice, &waited_for[index]));
            }
            // A wait that is being ended holds the last reference to its notice.
            waited_for.clear();
            self.looked.notify_all();
            drop(state);
            if let Some(waker) = waker {
                // A panic has no caller here. The hook for panics has reported it.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
            if is_idle && signaled.is_none() && self.has_exited() {
                return;
            }
            state = self.state();
        }
    }

    /// Removes the thread from the list, if it still has no entry.
    fn has_exited(&self) -> bool {
        let mut threads = threads();
        if !self.state().entries.is_empty() {
            return false;
        }
        threads.retain(|thread| !std::ptr::eq(&**thread, self));
        true
    }
}

/// Returns whether a wait for this handle is over, or impossible. Its task then finds out which, when it uses the object.
fn is_over(handle: HANDLE) -> bool {
    // SAFETY: the handle is open, as it was during the wait that has failed. The call accesses no memory of this process.
    (unsafe { WaitForSingleObject(handle, 0) }) != WAIT_TIMEOUT
}

impl fmt::Debug for WakingWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakingWait")
            .field("is_signaled", &self.notice.lock().is_signaled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use crate::sys::create_object::{self, event};

    const SOON: Duration = Duration::from_secs(10);

    /// A task that runs its action when it is woken.
    struct Task<F: Fn() + Send + Sync>(F);

    impl<F: Fn() + Send + Sync + 'static> Wake for Task<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    fn waker(action: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker::from(Arc::new(Task(action)))
    }

    fn counting(woken: &Arc<AtomicUsize>, then: Sender<()>) -> Waker {
        let woken = Arc::clone(woken);
        waker(move || {
            woken.fetch_add(1, SeqCst);
            let _ = then.send(());
        })
    }

    #[test]
    fn signal_wakes_the_last_task_once() -> io::Result<()> {
        let (sender, receiver) = channel();
        let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
        let [first, last] = [&counts[0], &counts[1]].map(|count| counting(count, sender.clone()));
        let event = Arc::new(event(false)?);
        let mut waiting = WakingWait::begin(Arc::clone(&event), &first)?;
        assert!(!waiting.poll(&last));
        create_object::set_event(event.as_handle())?;
        receiver.recv_timeout(SOON).expect("the task is woken");
        assert!(waiting.poll(&last) && waiting.end() && waiting.end());
        assert_eq!(counts.map(|count| count.load(SeqCst)), [0, 1]);
        assert_eq!(wait(event.as_handle(), Some(0))?, Waited::TimedOut, "the wait has reset it");
        Ok(())
    }

    #[test]
    fn ended_wait_wakes_nothing_takes_nothing_and_frees_everything() -> io::Result<()> {
        let (sender, _receiver) = channel();
        let count = Arc::new(AtomicUsize::new(0));
        let task = counting(&count, sender);
        let event = Arc::new(event(false)?);
        let mut waiting = WakingWait::begin(Arc::clone(&event), &task)?;
        assert!(!waiting.end());
        create_object::set_event(event.as_handle())?;
        assert_eq!(Arc::strong_count(&waiting.notice), 1, "the thread has forgotten it");
        drop(waiting);
        assert_eq!(wait(event.as_handle(), Some(0))?, Waited::Signaled);
        drop(task);
        assert_eq!((count.load(SeqCst), Arc::strong_count(&count), Arc::strong_count(&event)), (0, 1, 1));
        Ok(())
    }

    #[test]
    fn wake_can_drop_its_own_wait() -> io::Result<()> {
        type Slot = Arc<Mutex<Option<WakingWait>>>;
        let (sender, receiver) = channel();
        let slot = Slot::default();
        let event = Arc::new(event(true)?);
        let task = {
            let slot = Arc::clone(&slot);
            waker(move || {
                let waiting = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                let notice = waiting.as_ref().map(|waiting| Arc::downgrade(&waiting.notice));
                drop(waiting);
                let _ = sender.send(notice);
            })
        };
        let waiting = WakingWait::begin(Arc::clone(&event), &task)?;
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
        create_object::set_event(event.as_handle())?;
        let notice = receiver.recv_timeout(SOON).expect("the drop returns").expect("it was there");
        assert!(notice.upgrade().is_none(), "nothing is left of the wait");
        Ok(())
    }

    #[test]
    fn wait_ends_while_its_waker_runs() -> io::Result<()> {
        let (begun, has_begun) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let task = waker(move || {
            let _ = begun.send(());
            let _ = may_go_on.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(SOON);
        });
        let event = Arc::new(event(true)?);
        let mut waiting = WakingWait::begin(Arc::clone(&event), &task)?;
        create_object::set_event(event.as_handle())?;
        has_begun.recv_timeout(SOON).expect("the waker runs");
        // The waker waits until this has returned.
        assert!(waiting.end());
        drop(waiting);
        go_on.send(()).expect("the waker still runs");
        Ok(())
    }

    #[test]
    fn panic_of_a_waker_stays_in_the_callback() -> io::Result<()> {
        let (sender, receiver) = channel();
        let task = waker(move || {
            let _ = sender.send(());
            std::panic::resume_unwind(Box::new("a waker's panic"));
        });
        let event = Arc::new(event(true)?);
        let waiting = WakingWait::begin(Arc::clone(&event), &task)?;
        create_object::set_event(event.as_handle())?;
        receiver.recv_timeout(SOON).expect("the waker runs");
        drop(waiting);
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}
