//! Queries for the names of files, which may never return.
//!
//! The kernel answers a query for a file's name only when no other call on the file is in progress. If another thread
//! reads from a synchronous pipe, that is when data arrives. So a separate thread makes the query, and is terminated
//! if the answer doesn't come in time.

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use std::ptr::{NonNull, with_exposed_provenance_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{
    INFINITE, SetEvent, Sleep, TerminateThread, WaitForSingleObject,
};

use super::call::BEGIN_THREAD;
use super::handle::raw_of;
use super::io::{HasHandle, Owned};
use super::object_info::{NameBuffer, ask_for_name, name_in};
use super::wait::{Waited, wait};
use super::{Outcome, SysError, SysResult, always, ask, call, create_object, succeeded};
use crate::sys::begin_thread;

/// The time limit for an answer, in milliseconds. The kernel takes about a thousandth of a millisecond.
const PATIENCE: u32 = 100;
/// The time limit for the exit of a terminated thread.
const END: u32 = 1000;
/// The time limit for the start of the thread. DLLs in the process can run code of their own at that point.
const START: u32 = 30_000;

/// The maximum number of threads that could not be terminated. Each of them blocks one handle, so no more are made.
const MAX_STUCK: usize = 20;
static STUCK: AtomicUsize = AtomicUsize::new(0);

/// The call that queries a name.
const QUERY: &str = "NtQueryObject";

const ASKING: u32 = 1;
const ANSWERED: u32 = 2;
const GIVEN_UP: u32 = 3;

/// Sleeps. std's function would create a timer, which isn't closed if the thread is terminated.
fn sleep(milliseconds: u32) {
    // SAFETY: the argument is a number, and the call accesses no memory of this process.
    unsafe { Sleep(milliseconds) };
}

/// The result of a query for a name.
#[derive(Debug)]
pub(crate) enum Answer {
    Name(Option<String>),
    /// The kernel didn't answer. The thread has been terminated, so the handle can be closed.
    Never,
    /// The thread couldn't be terminated. Closing the handle would hang as well.
    Stuck,
}

impl Outcome for Answer {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.result(to),
            Self::Never | Self::Stuck => to.write_str("no answer"),
        }
    }
}

/// Queries the names of files, one at a time, on a worker thread.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    thread: Option<Running>,
}

#[derive(Debug)]
struct Running {
    query: SharedPtr,
    thread: JoinHandle<()>,
}

/// A pointer to the state shared with the worker thread. The state is freed by this thread when the worker is known
/// to have exited, because a terminated worker can't free it.
#[derive(Debug, Clone, Copy)]
struct SharedPtr(NonNull<Query>);

// SAFETY: the pointer refers to a `Query`, which is `Sync`, and which is freed only when the other thread no longer
// uses it.
unsafe impl Send for SharedPtr {}

impl SharedPtr {
    fn query(&self) -> &Query {
        // SAFETY: the pointer came from a `Box`. Only `free` frees it, and `free` is called when the worker has
        // exited or was never started, and consumes the last pointer in use.
        unsafe { self.0.as_ref() }
    }

    fn free(self) {
        // SAFETY: the pointer came from a `Box`. The worker has exited or was never started, and this call consumes
        // this thread's pointer, so nothing uses the state afterwards, and it is freed once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The state that the two threads share.
#[derive(Debug)]
struct Query {
    asked: Owned,
    answered: Owned,
    /// The handle to query; zero tells the worker to exit.
    handle: AtomicUsize,
    state: AtomicU32,
    status: AtomicI32,
    /// Belongs to the worker while `state` is `ASKING`, and to the querying thread otherwise.
    buffer: UnsafeCell<NameBuffer>,
}

// SAFETY: all fields except `buffer` are `Sync`. The buffer is accessed by one thread at a time: by the worker while
// `state` is `ASKING`, and by the querying thread otherwise; the changes of `state` are ordered with acquire and
// release.
unsafe impl Sync for Query {}

impl Asker {
    /// Returns the name of a file.
    pub(crate) fn name_of(&mut self, file: BorrowedHandle<'_>) -> SysResult<Answer> {
        // The name of the call that failed, if one of those that pass the query to the worker did.
        let mut failed = None;
        let answer = ask(QUERY, &[("name of", file.into())], || {
            self.answer_for(file).map_err(|SysError { call, source }| {
                failed = Some(call);
                source
            })
        });
        answer.map_err(|SysError { call, source }| SysError { call: failed.unwrap_or(call), source })
    }

    fn answer_for(&mut self, file: BorrowedHandle<'_>) -> SysResult<Answer> {
        let running = match self.thread.take() {
            Some(running) => running,
            None if STUCK.load(Ordering::Relaxed) >= MAX_STUCK => {
                let reason =
                    format!("not asked, because {MAX_STUCK} threads of earlier queries could not be ended");
                return Err(SysError::new(QUERY, io::Error::other(reason)));
            }
            None => Running::begin()?,
        };
        let query = running.query.query();
        query.handle.store(file.as_raw_handle().expose_provenance(), Ordering::Relaxed);
        query.state.store(ASKING, Ordering::Release);
        if let Err(error) = create_object::set_event(query.asked.handle()) {
            // The worker is still waiting for a query.
            running.finish();
            return Err(error);
        }
        let waited = wait(query.answered.handle(), Some(PATIENCE));
        if waited.is_err() {
            // The wait failed, not the query. A query that has only just begun may still hold a lock of the system, as
            // the layer for 32-bit programs does when it converts the arguments.
            sleep(PATIENCE);
        }
        if !matches!(waited, Ok(Waited::Signaled)) {
            let given_up =
                query.state.compare_exchange(ASKING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
            if given_up.is_ok() {
                let ended = running.terminate();
                return waited.and(ended);
            }
            // The answer has arrived just after the time limit.
            if let Err(error) = waited.and_then(|_| wait(query.answered.handle(), None)) {
                running.finish();
                return Err(error);
            }
        }
        let status = query.status.load(Ordering::Acquire);
        // SAFETY: the worker has set `state` to `ANSWERED`, and this thread has seen that. So the worker doesn't
        // access the buffer until this thread sets `ASKING` again, and this reference ends before.
        let name = name_in(status, unsafe { &*query.buffer.get() });
        self.thread = Some(running);
        name.map(Answer::Name).map_err(SysError::of(QUERY))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(running) = self.thread.take() {
            running.finish();
        }
    }
}

impl Running {
    fn begin() -> SysResult<Self> {
        let query = Box::new(Query {
            asked: create_object::event(false)?,
            answered: create_object::event(false)?,
            handle: AtomicUsize::new(0),
            state: AtomicU32::new(ANSWERED),
            status: AtomicI32::new(0),
            buffer: UnsafeCell::new([0; 8200]),
        });
        let query = SharedPtr(NonNull::from(Box::leak(query)));
        let serve = move || { query }.query().serve();
        let thread = match begin_thread(|| {
            std::thread::Builder::new().name("handover name queries".into()).spawn(serve)
        }) {
            Ok(thread) => thread,
            Err(error) => {
                query.free();
                return Err(error);
            }
        };
        // A starting thread holds locks of the system and must not be terminated. If it doesn't start in time, the
        // shared state is leaked.
        match wait(query.query().answered.handle(), Some(START)) {
            Ok(Waited::Signaled) => Ok(Self { query, thread }),
            Ok(_) => {
                let source =
                    io::Error::new(io::ErrorKind::TimedOut, "the thread for name queries did not start");
                Err(SysError::new(BEGIN_THREAD, source))
            }
            Err(error) => {
                Self { query, thread }.finish();
                Err(error)
            }
        }
    }

    /// Makes the worker exit, and frees the shared state.
    fn finish(self) {
        let Self { query, thread } = self;
        query.query().handle.store(0, Ordering::Relaxed);
        let asked = query.query().asked.handle();
        let outcome = always("SetEvent", &[("handle", asked.into())], || {
            // SAFETY: the event belongs to the shared state, which is alive until `free` below, so its handle is open.
            succeeded(unsafe { SetEvent(raw_of(asked)) })
        });
        // If the worker couldn't be told to exit, it may still use the shared state, which is therefore leaked.
        if outcome.is_err() {
            return;
        }
        if thread.join().is_ok() {
            query.free();
        }
    }

    /// Terminates the worker, which is in a call that doesn't return, or has returned too late and sleeps.
    fn terminate(self) -> SysResult<Answer> {
        let thread = self.thread.as_handle();
        call("TerminateThread", &[("thread", thread.into())], || {
            // SAFETY: the thread's handle is open, because `self` owns it. The thread is in the query, or between the
            // query and the endless sleep in `serve`, or in that sleep. In each case it holds no lock and is not in
            // the middle of changing memory that others use, so terminating it leaves no inconsistent state. The few
            // hundred bytes that std keeps for the thread are leaked.
            succeeded(unsafe { TerminateThread(thread.as_raw_handle(), 1) })
        })?;
        if wait(thread, Some(END))? != Waited::Signaled {
            STUCK.fetch_add(1, Ordering::Relaxed);
            return Ok(Answer::Stuck);
        }
        self.query.free();
        Ok(Answer::Never)
    }
}

impl Query {
    /// Runs the worker. During a query it neither allocates nor locks, so that it can be terminated. For the same
    /// reason its calls have no events.
    fn serve(&self) {
        // Tells the other thread that the worker has started.
        // SAFETY: the event belongs to the shared state, which is freed only after this thread has exited, so its
        // handle is open.
        if unsafe { SetEvent(raw_of(self.answered.handle())) } == 0 {
            return;
        }
        loop {
            // SAFETY: the event belongs to the shared state, which is freed only after this thread has exited, so its
            // handle is open.
            let asked = unsafe { WaitForSingleObject(raw_of(self.asked.handle()), INFINITE) };
            let handle = self.handle.load(Ordering::Relaxed);
            if asked != WAIT_OBJECT_0 || handle == 0 {
                return;
            }
            #[cfg(feature = "faults")]
            while crate::sys::fault_injection::do_names_hang() {
                sleep(20);
            }
            // SAFETY: the state is `ASKING`, so the buffer belongs to this thread until it changes the state below,
            // and no other reference to it exists.
            let buffer = unsafe { &mut *self.buffer.get() };
            let status = ask_for_name(with_exposed_provenance_mut(handle), buffer);
            self.status.store(status, Ordering::Release);
            let answered =
                self.state.compare_exchange(ASKING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if !answered {
                // The query was given up, and this thread is about to be terminated.
                loop {
                    sleep(INFINITE);
                }
            }
            // SAFETY: the event belongs to the shared state, which is freed only after this thread has exited, so its
            // handle is open.
            if unsafe { SetEvent(raw_of(self.answered.handle())) } == 0 {
                return;
            }
        }
    }
}
