//! One end of a channel: whom it leads to, and why it has ended.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::recv_buffer::Reader;
use crate::channel::KindFilter;
use crate::channel::timed_mutex::TimedMutex;
use crate::channel::wire::Broken;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::{SysError, SysResult, unix_socket, wait};
use crate::wait::Deadline;

/// After which time it is looked again what another thread of this process has done or left undone.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long one call waits for a message at most, before it is looked too whether the other process lives.
pub(super) const WAIT: Duration = Duration::from_millis(500);

/// Makes a socket ready to be an end.
pub(super) fn prepare(socket: BorrowedFd<'_>) -> SysResult<()> {
    unix_socket::set_wait(socket, WAIT)
}

/// What one thread at a time needs to write.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) cut_off: bool,
}

/// Who has the other end.
#[derive(Debug)]
pub(super) enum Peer {
    Known(Process),
    /// It had ended before this process asked. What it sent can still be received.
    Ended(u32),
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) socket: Owned,
    peer: Peer,
    pub(super) reader: TimedMutex<Reader>,
    pub(super) writer: TimedMutex<Writer>,
    /// What the other end did wrong; from then on nothing is read or written.
    broken: OnceLock<Broken>,
    /// Whether the end of the connection was the end of the process.
    is_gone: OnceLock<bool>,
    /// Whether the other end was closed before it had read everything.
    lost: AtomicBool,
    pub(crate) allowed: Arc<KindFilter>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Woken {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The other process has ended.
    pub(super) gone: bool,
}

impl Endpoint {
    pub(super) fn new(socket: Owned, peer: Peer) -> Self {
        Self {
            socket,
            peer,
            reader: TimedMutex::new(Reader::default()),
            writer: TimedMutex::new(Writer::default()),
            broken: OnceLock::new(),
            is_gone: OnceLock::new(),
            lost: AtomicBool::new(false),
            allowed: Arc::new(KindFilter::default()),
        }
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.peer {
            Peer::Known(process) => Some(process),
            Peer::Ended(_) => None,
        }
    }

    pub(crate) fn process_id(&self) -> u32 {
        match &self.peer {
            Peer::Known(process) => process.id(),
            Peer::Ended(id) => *id,
        }
    }

    /// Waits until something can be read or written, as is asked, or the other process has ended: it may have a child
    /// that has its end by chance, and then nothing else tells.
    pub(super) fn wait_for(&self, asked: PollFlags, deadline: Deadline) -> Result<Woken> {
        let mut polled = [
            PollFd::from_borrowed_fd(self.socket.as_fd(), asked),
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::empty()),
        ];
        let count = match &self.peer {
            Peer::Known(process) => {
                polled[1] = PollFd::from_borrowed_fd(process.handle(), PollFlags::IN);
                2
            }
            Peer::Ended(_) => 1,
        };
        let ready = wait::ready(&mut polled[..count], Some(deadline.milliseconds()));
        if !ready.map_err(self.failed())? {
            return Ok(Woken::default());
        }
        let events = polled[0].revents();
        // An end is found out by the call that meets it: there is always something to read then.
        Ok(Woken {
            readable: events.contains(PollFlags::IN),
            writable: events.contains(PollFlags::OUT),
            gone: count == 2 && !polled[1].revents().is_empty(),
        })
    }

    pub(super) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let what = format!("the channel to process {}", self.process_id());
        move |error| Error::system(what, error)
    }

    /// Why nothing more comes or goes.
    pub(super) fn ended(&self) -> Error {
        let process = self.process_id();
        let is_going = || match &self.peer {
            Peer::Known(process) => process.is_going(),
            Peer::Ended(_) => true,
        };
        if *self.is_gone.get_or_init(is_going) {
            return Error::ProcessExited { pid: process, context: "reach over the channel".into() };
        }
        Error::Disconnected { pid: process }
    }

    /// The other end has broken a rule: the channel ends here.
    pub(super) fn broke_off(&self, why: Broken) -> Error {
        // Whoever waits at either end hears of it.
        unix_socket::shut_down(self.socket.as_fd());
        Error::Protocol { pid: self.process_id(), reason: self.broken.get_or_init(|| why) }
    }

    pub(super) fn check_not_broken(&self) -> Result<()> {
        match self.broken.get() {
            None => Ok(()),
            Some(why) => Err(self.broke_off(why)),
        }
    }

    /// Notes what the kernel says of the other end's closing once: whether something was there unread.
    pub(super) fn note_reset(&self, error: &std::io::Error) {
        if unix_socket::is_reset(error) {
            self.lost.store(true, Relaxed);
        }
    }

    /// What was sent is the kernel's, and comes to the other end whatever becomes of this one. So there is nothing to
    /// wait for; whether the other end is there still, or has read everything before it was closed, can be said.
    pub(crate) fn flush(&self, _: Deadline) -> Result<bool> {
        self.check_not_broken()?;
        let woken = self.wait_for(PollFlags::empty(), Deadline::after(Duration::ZERO))?;
        let hung_up = unix_socket::is_hung_up(self.socket.as_fd()).map_err(self.failed())?;
        if !hung_up {
            // Where another process has the other end by chance, nothing tells.
            return if woken.gone { Err(self.ended()) } else { Ok(true) };
        }
        if let Some(error) = unix_socket::pending_error(self.socket.as_fd()).map_err(self.failed())? {
            self.note_reset(&error);
        }
        if self.lost.load(Relaxed) { Err(self.ended()) } else { Ok(true) }
    }
}
