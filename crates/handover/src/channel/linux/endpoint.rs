//! `Endpoint`: this process's endpoint of a channel, its peer process, and the reason why it was closed.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::recv_buffer::Reader;
use crate::channel::KindFilter;
use crate::channel::timed_mutex::TimedMutex;
use crate::channel::wire::Broken;
use crate::error::{Error, ProcessName, Result};
use crate::process::Process;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::{DeferredEvents, SysError, SysResult, unix_socket, wait};
use crate::wait::Deadline;

/// The interval at which to check again what another thread of this process has done.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The maximum time that one call waits for a message. After that the peer process is checked too.
pub(super) const WAIT: Duration = Duration::from_millis(500);

/// Prepares a socket for use as an endpoint.
pub(super) fn prepare(socket: BorrowedFd<'_>) -> SysResult<()> {
    unix_socket::set_wait(socket, WAIT)
}

/// The state of sending, which one thread at a time uses.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) cut_off: bool,
}

/// The process at the other endpoint.
#[derive(Debug)]
pub(super) enum Peer {
    Known(Process),
    /// A process that this process couldn't open, because it had exited or closed its endpoint. Its earlier messages
    /// can still be received.
    Unopened {
        id: u32,
        has_exited: bool,
    },
}

impl Peer {
    /// Returns whether the process has exited or is exiting, if that is known.
    pub(super) fn is_going(&self) -> bool {
        match self {
            Self::Known(process) => process.is_going(),
            Self::Unopened { has_exited, .. } => *has_exited,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) socket: Owned,
    peer: Peer,
    pub(super) reader: TimedMutex<Reader>,
    pub(super) writer: TimedMutex<Writer>,
    /// The rule that the peer broke. From then on nothing is read or written.
    broken: OnceLock<Broken>,
    /// Whether the peer process had exited when the connection was found closed.
    is_gone: OnceLock<bool>,
    /// Whether the peer closed its endpoint before it had read everything.
    lost: AtomicBool,
    pub(crate) allowed: Arc<KindFilter>,
}

/// The outcome of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Woken {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer process has exited.
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
            Peer::Unopened { .. } => None,
        }
    }

    pub(crate) fn process_id(&self) -> u32 {
        match &self.peer {
            Peer::Known(process) => process.id(),
            Peer::Unopened { id, .. } => *id,
        }
    }

    /// Waits until the socket is readable or writable, as asked, or until the peer process has exited. The process is
    /// watched too, because a child of it may have inherited its endpoint; then the socket shows no end of file.
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
            Peer::Unopened { .. } => 1,
        };
        let ready = wait::ready(&mut polled[..count], Some(deadline.milliseconds()));
        if !ready.map_err(self.failed())? {
            return Ok(Woken::default());
        }
        let events = polled[0].revents();
        // A closed connection needs no flag of its own: it makes the socket readable, and the next call reports it.
        Ok(Woken {
            readable: events.contains(PollFlags::IN),
            writable: events.contains(PollFlags::OUT),
            gone: count == 2 && !polled[1].revents().is_empty(),
        })
    }

    pub(super) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let context = format!("the channel to {}", ProcessName(self.process_id()));
        move |error| Error::system(context, error)
    }

    /// Returns the error for a closed connection: the peer process has exited, or has closed its endpoint.
    pub(super) fn disconnect_error(&self) -> Error {
        let process = self.process_id();
        // A subscriber that uses this channel would begin the same initialization again.
        let _events = DeferredEvents::begin();
        if *self.is_gone.get_or_init(|| self.peer.is_going()) {
            return Error::ProcessExited { pid: process, context: "use the channel".into() };
        }
        Error::Disconnected { pid: process }
    }

    /// Closes the channel because the peer broke a rule, and returns the error.
    pub(super) fn protocol_error(&self, reason: Broken) -> Error {
        // Wakes all threads that wait at either endpoint.
        unix_socket::shut_down(self.socket.as_fd());
        Error::Protocol { pid: self.process_id(), reason: self.broken.get_or_init(|| reason) }
    }

    pub(super) fn check_not_broken(&self) -> Result<()> {
        match self.broken.get() {
            None => Ok(()),
            Some(reason) => Err(self.protocol_error(reason)),
        }
    }

    /// Records that the peer closed its endpoint with unread data. The kernel reports this only once.
    pub(super) fn note_reset(&self, error: &std::io::Error) {
        if unix_socket::is_reset(error) {
            self.lost.store(true, Relaxed);
        }
    }

    /// Checks that the peer has not closed its endpoint before it read everything. It never waits, because the kernel
    /// holds what was sent and delivers it even after this endpoint is closed.
    pub(crate) fn flush(&self, _: Deadline) -> Result<bool> {
        self.check_not_broken()?;
        let woken = self.wait_for(PollFlags::empty(), Deadline::after(Duration::ZERO))?;
        let hung_up = unix_socket::is_hung_up(self.socket.as_fd()).map_err(self.failed())?;
        if !hung_up {
            // If another process still has the peer's endpoint, only the exit of the process shows.
            return if woken.gone { Err(self.disconnect_error()) } else { Ok(true) };
        }
        if let Some(error) = unix_socket::pending_error(self.socket.as_fd()).map_err(self.failed())? {
            self.note_reset(&error);
        }
        if self.lost.load(Relaxed) { Err(self.disconnect_error()) } else { Ok(true) }
    }
}
