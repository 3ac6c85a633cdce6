//! `WakingWait`: a wait by the system's thread pool that wakes a task.
//!
//! A waker is code of a runtime. It runs in the pool's callback, so no other thread is needed for it. It can do anything there:
//! poll the task, or drop it, and with it this very wait. So no end of a wait may wait for a waker:
//!
//! - Until the callback has begun, the end of a wait takes the waker away, and then waits until the system lets no callback begin
//!   any more. A callback that begins meanwhile finds no waker, and waits for nothing.
//! - Once the callback has begun, the system is done with the handle, and the end of a wait waits for nothing. The callback has a
//!   reference of its own to what it uses.

use std::ffi::c_void;
use std::fmt;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

use super::pool_wait::Registered;
use super::{SysResult, always, call, succeeded};
use crate::sys::drop_waker;

/// One wait for a handle. Dropping it ends the wait. The wait changes the object as every wait does.
pub(crate) struct WakingWait<H> {
    /// `None` once the wait has ended.
    registered: Option<Registered>,
    notice: Arc<Notice>,
    /// Keeps the handle open.
    _handle: H,
}

/// The state that a wait shares with its callback.
struct Notice(Mutex<State>);

struct State {
    /// Whether the callback has begun.
    is_signaled: bool,
    waker: Option<Waker>,
}

impl Notice {
    /// The lock is std's, because the callback takes it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: any thread may end a registered wait. The other fields are `Send`.
unsafe impl<H: Send> Send for WakingWait<H> {}

// SAFETY: methods that take a shared reference use only `notice`, which is `Sync`.
unsafe impl<H: Sync> Sync for WakingWait<H> {}

impl<H: AsHandle> WakingWait<H> {
    /// Begins to wait. `handle` must keep its handle open until it is dropped.
    pub(crate) fn begin(handle: H, waker: &Waker) -> SysResult<Self> {
        let state = State { is_signaled: false, waker: Some(waker.clone()) };
        let notice = Arc::new(Notice(Mutex::new(state)));
        let of_callback = Arc::into_raw(Arc::clone(&notice));
        let registered =
            call("RegisterWaitForSingleObject", &[("object", handle.as_handle().into())], || {
                let mut registered = null_mut();
                // SAFETY: `registered` is a live variable for the answer. The handle is open, and `_handle` keeps it open until
                // the wait has ended. The callback's argument is a reference of its own.
                succeeded(unsafe {
                    RegisterWaitForSingleObject(
                        &raw mut registered,
                        handle.as_handle().as_raw_handle(),
                        Some(signaled),
                        of_callback.cast::<c_void>(),
                        INFINITE,
                        WT_EXECUTEONLYONCE,
                    )
                })?;
                Ok(Registered(registered))
            });
        match registered {
            Ok(registered) => Ok(Self { registered: Some(registered), notice, _handle: handle }),
            Err(error) => {
                // SAFETY: it came from `into_raw` above. The wait wasn't registered, so no callback uses it.
                drop(unsafe { Arc::from_raw(of_callback) });
                notice.lock().waker.take().into_iter().for_each(drop_waker);
                Err(error)
            }
        }
    }
}

impl<H> WakingWait<H> {
    /// Returns whether the handle was signaled, which ends the wait. If it wasn't, the wait wakes this task from now on.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.notice.lock();
        if state.is_signaled {
            return true;
        }
        if !state.waker.as_ref().is_some_and(|noted| noted.will_wake(waker)) {
            let replaced = state.waker.replace(waker.clone());
            drop(state);
            replaced.into_iter().for_each(drop_waker);
        }
        false
    }

    /// Ends the wait. When it returns, the pool takes nothing any more. Returns whether the handle was signaled before.
    pub(crate) fn end(&mut self) -> bool {
        let Some(registered) = self.registered.take() else { return self.notice.lock().is_signaled };
        let mut state = self.notice.lock();
        let (has_begun, waker) = (state.is_signaled, state.waker.take());
        drop(state);
        waker.into_iter().for_each(drop_waker);
        let ended = always("UnregisterWaitEx", &[], || {
            let waits = if has_begun { null_mut() } else { INVALID_HANDLE_VALUE };
            // SAFETY: the wait was registered by `begin`, and is ended only here. With `INVALID_HANDLE_VALUE` the call waits until
            // no callback runs. This isn't the thread of this wait's callback, because that hasn't begun, or has no waker.
            let ended = succeeded(unsafe { UnregisterWaitEx(registered.0, waits) });
            // The callback may still run, which the call reports as an error.
            if has_begun { Ok(()) } else { ended }
        });
        let is_signaled = self.notice.lock().is_signaled;
        // After a failure a callback could still run, so its reference is leaked.
        if ended.is_ok() && !is_signaled {
            // SAFETY: it came from `into_raw` in `begin`. No callback has run, and none begins any more, so the reference is still
            // there, and nothing else frees it.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&self.notice)) });
        }
        is_signaled
    }
}

unsafe extern "system" fn signaled(notice: *mut c_void, _has_timed_out: bool) {
    // SAFETY: the argument is the callback's own reference, from `into_raw` in `begin`. The callback runs at most once.
    let notice = unsafe { Arc::from_raw(notice.cast_const().cast::<Notice>()) };
    let mut state = notice.lock();
    state.is_signaled = true;
    let waker = state.waker.take();
    drop(state);
    drop(notice);
    if let Some(waker) = waker {
        // A panic has no caller here. The hook for panics has reported it.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

impl<H> Drop for WakingWait<H> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<H> fmt::Debug for WakingWait<H> {
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
    use crate::sys::io::Owned;
    use crate::sys::wait::{Waited, wait};

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
        assert_eq!(Arc::strong_count(&waiting.notice), 1);
        drop(waiting);
        assert_eq!(wait(event.as_handle(), Some(0))?, Waited::Signaled);
        drop(task);
        assert_eq!((count.load(SeqCst), Arc::strong_count(&count), Arc::strong_count(&event)), (0, 1, 1));
        Ok(())
    }

    #[test]
    fn wake_can_drop_its_own_wait() -> io::Result<()> {
        type Slot = Arc<Mutex<Option<WakingWait<Arc<Owned>>>>>;
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
        create_object::set_event(event.as_handle())?;
        let mut waiting = WakingWait::begin(event, &task)?;
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
        create_object::set_event(event.as_handle())?;
        let waiting = WakingWait::begin(event, &task)?;
        receiver.recv_timeout(SOON).expect("the waker runs");
        drop(waiting);
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}
