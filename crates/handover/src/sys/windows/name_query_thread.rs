//! Questions that may never be answered.
//!
//! The kernel answers for a file's name when nobody else is in a call on it. On a pipe that is opened the
//! ordinary way and that somebody reads, that is when something comes. So a thread asks, and is ended if it
//! gets no answer.

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

/// How long an answer is waited for, in milliseconds: the kernel needs a thousandth of one.
const PATIENCE: u32 = 100;
/// How long the end of a thread is waited for.
const END: u32 = 1000;
/// How long its start is waited for: whatever is loaded into the process may do something then.
const START: u32 = 30_000;

/// The call that asks for a name.
const QUERY: &str = "NtQueryObject";

const ASKING: u32 = 1;
const ANSWERED: u32 = 2;
const GIVEN_UP: u32 = 3;

/// Does nothing for so many milliseconds. std would make a timer for it, and a thread that is ended doesn't
/// close it.
fn sleep(milliseconds: u32) {
    // SAFETY: the call takes a number.
    unsafe { Sleep(milliseconds) };
}

/// A name, if the kernel gave one in time.
#[derive(Debug)]
pub(crate) enum Answer {
    Name(Option<String>),
    /// It didn't answer, and the handle can be closed.
    Never,
    /// The thread couldn't even be ended: closing the handle would hang as well.
    Stuck,
}

impl Outcome for Answer {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.result(to),
            Self::Never | Self::Stuck => to.write_str("no answer"),
        }
    }
}

/// Asks for files' names, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    thread: Option<Running>,
}

#[derive(Debug)]
struct Running {
    desk: Shared,
    thread: JoinHandle<()>,
}

/// The two threads' desk, which is freed when the other thread is known to have ended: it may not have done
/// it itself.
#[derive(Debug, Clone, Copy)]
struct Shared(NonNull<Desk>);

// SAFETY: what it points to is made for two threads.
unsafe impl Send for Shared {}

impl Shared {
    fn desk(&self) -> &Desk {
        // SAFETY: it came from a box, and is freed only by `free`, of which the callers say why nobody is at
        // it.
        unsafe { self.0.as_ref() }
    }

    fn free(self) {
        // SAFETY: it came from a box, and the other thread has ended.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// What the two threads pass each other.
#[derive(Debug)]
struct Desk {
    asked: Owned,
    answered: Owned,
    /// The handle that is asked about; zero for no more.
    handle: AtomicUsize,
    state: AtomicU32,
    status: AtomicI32,
    /// Whose it is, the state says: the thread's while it is asking, and the asker's otherwise.
    buffer: UnsafeCell<NameBuffer>,
}

// SAFETY: the one part that isn't made for it is used by one thread at a time, as the state says.
unsafe impl Sync for Desk {}

impl Asker {
    /// The name of a file.
    pub(crate) fn name_of(&mut self, file: BorrowedHandle<'_>) -> SysResult<Answer> {
        // Of the calls by which the thread is asked, the one that failed.
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
            None => Running::begin()?,
        };
        let desk = running.desk.desk();
        desk.handle.store(file.as_raw_handle().expose_provenance(), Ordering::Relaxed);
        desk.state.store(ASKING, Ordering::Release);
        if let Err(error) = create_object::set_event(desk.asked.handle()) {
            // It waits still.
            running.leave();
            return Err(error);
        }
        let waited = wait(desk.answered.handle(), Some(PATIENCE));
        if !matches!(waited, Ok(Waited::Signaled)) {
            let given_up = desk.state.compare_exchange(ASKING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
            if given_up.is_ok() {
                let ended = running.end();
                return waited.and(ended);
            }
            // It has just come.
            if let Err(error) = waited.and_then(|_| wait(desk.answered.handle(), None)) {
                running.leave();
                return Err(error);
            }
        }
        let status = desk.status.load(Ordering::Acquire);
        // SAFETY: the state says that the thread has answered, so it doesn't touch the buffer until it is
        // asked again.
        let name = name_in(status, unsafe { &*desk.buffer.get() });
        self.thread = Some(running);
        name.map(Answer::Name).map_err(SysError::of(QUERY))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(running) = self.thread.take() {
            running.leave();
        }
    }
}

impl Running {
    fn begin() -> SysResult<Self> {
        let desk = Box::new(Desk {
            asked: create_object::event(false)?,
            answered: create_object::event(false)?,
            handle: AtomicUsize::new(0),
            state: AtomicU32::new(ANSWERED),
            status: AtomicI32::new(0),
            buffer: UnsafeCell::new([0; 8200]),
        });
        let desk = Shared(NonNull::from(Box::leak(desk)));
        let serve = move || { desk }.desk().serve();
        let thread =
            match begin_thread(|| std::thread::Builder::new().name("asks for names".into()).spawn(serve)) {
                Ok(thread) => thread,
                Err(error) => {
                    desk.free();
                    return Err(error);
                }
            };
        // While it starts, it holds locks of the system's, and must not be ended. One that doesn't start
        // keeps its desk.
        match wait(desk.desk().answered.handle(), Some(START)) {
            Ok(Waited::Signaled) => Ok(Self { desk, thread }),
            Ok(_) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, "the thread that asks did not start");
                Err(SysError::new(BEGIN_THREAD, source))
            }
            Err(error) => {
                Self { desk, thread }.leave();
                Err(error)
            }
        }
    }

    /// Lets the thread end, which asks nothing any more.
    fn leave(self) {
        let Self { desk, thread } = self;
        desk.desk().handle.store(0, Ordering::Relaxed);
        let asked = desk.desk().asked.handle();
        let told = always("SetEvent", &[("handle", asked.into())], || {
            // SAFETY: the desk has the event, and is freed after this thread and the other.
            succeeded(unsafe { SetEvent(raw_of(asked)) })
        });
        // While the thread may still be at it, the desk stays.
        if told.is_err() {
            return;
        }
        if thread.join().is_ok() {
            desk.free();
        }
    }

    /// Ends the thread, which is in a call that doesn't return, or past it and does nothing any more.
    fn end(self) -> SysResult<Answer> {
        let thread = self.thread.as_handle();
        call("TerminateThread", &[("thread", thread.into())], || {
            // SAFETY: the thread is in the kernel, or waits as `serve` does when it was given up. Either way
            // it holds no lock and is in the middle of no change of memory; what std keeps for it is lost, a
            // few hundred bytes.
            succeeded(unsafe { TerminateThread(thread.as_raw_handle(), 1) })
        })?;
        if wait(thread, Some(END))? != Waited::Signaled {
            return Ok(Answer::Stuck);
        }
        self.desk.free();
        Ok(Answer::Never)
    }
}

impl Desk {
    /// The thread's work. While it is asking it neither allocates nor locks anything, so that it can be
    /// ended; so its calls aren't told of either.
    fn serve(&self) {
        // It has started.
        // SAFETY: the desk has the event, and is freed after this thread.
        if unsafe { SetEvent(raw_of(self.answered.handle())) } == 0 {
            return;
        }
        loop {
            // SAFETY: the desk has the event, and is freed after this thread.
            let asked = unsafe { WaitForSingleObject(raw_of(self.asked.handle()), INFINITE) };
            let handle = self.handle.load(Ordering::Relaxed);
            if asked != WAIT_OBJECT_0 || handle == 0 {
                return;
            }
            #[cfg(feature = "faults")]
            while crate::sys::fault_injection::do_names_hang() {
                sleep(20);
            }
            // SAFETY: the state says that this thread is asking, so nobody else touches the buffer.
            let buffer = unsafe { &mut *self.buffer.get() };
            let status = ask_for_name(with_exposed_provenance_mut(handle), buffer);
            self.status.store(status, Ordering::Release);
            let answered =
                self.state.compare_exchange(ASKING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if !answered {
                // Given up, and about to be ended.
                loop {
                    sleep(INFINITE);
                }
            }
            // SAFETY: as above.
            if unsafe { SetEvent(raw_of(self.answered.handle())) } == 0 {
                return;
            }
        }
    }
}
