//! `Endpoint`: this process's endpoint of a channel, its peer process, and the reason why it was closed.
//!
//! The *stronger* endpoint belongs to a parent or a server. Its process has a handle to the weaker process, with which
//! it duplicates in both directions. It sends a message in these steps:
//!
//! 1. It duplicates the objects into the weaker process's handle table.
//! 2. It writes the frame with the handle values there.
//! 3. It gives the objects away on the ownership page. If the weaker endpoint was closed before that, it closes the
//!    duplicates in the weaker process instead.
//!
//! A message from the weaker endpoint takes these steps:
//!
//! 1. The weaker process duplicates the objects in its own handle table.
//! 2. It writes the frame with the handle values.
//! 3. The stronger endpoint takes the objects on the ownership page, duplicates each into its own process, records that
//!    on the page, and sets an event.
//! 4. The weaker endpoint closes its duplicates during its next send, its next receive, or while it waits for one.
//!
//! The steps are implemented in `send.rs`, `receive.rs` and `close.rs`.

use std::collections::VecDeque;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ownership_page::{OwnershipPage, Turnover, WORDS};
use crate::channel::KindFilter;
use crate::channel::timed_mutex::TimedMutex;
use crate::channel::wire::Broken;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::overlapped::Transfer;
use crate::sys::{DeferredEvents, SysError, SysResult};
use crate::wait::{self, Deadline};

/// The interval at which to check again what another thread of this process has done.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The process at the other endpoint.
#[derive(Debug)]
pub(super) enum Peer {
    /// A child or a client. The process handle has the right to duplicate.
    Weaker(Process),
    /// The parent or the server. The process handle can only be waited for.
    Stronger(Result<Process, Unopened>),
}

/// A stronger process without a handle to it, because it had already exited or may not be opened. Its exit then shows
/// as the end of the pipe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unopened {
    pub(super) id: u32,
    pub(super) has_exited: bool,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) peer: Peer,
    page_memory: Words<WORDS>,
    /// Set by the stronger endpoint each time it has fetched objects.
    pub(super) fetched: Owned,
    pub(super) reader: TimedMutex<Reader>,
    pub(super) writer: TimedMutex<Writer>,
    /// The rule that the peer broke. From then on nothing is read or written.
    pub(super) broken: OnceLock<Broken>,
    /// Whether the peer process had exited when the pipe was found closed.
    has_exited: OnceLock<bool>,
    pub(crate) allowed: Arc<KindFilter>,
}

/// The state of receiving, which one thread at a time uses.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) transfer: Transfer,
    /// The number of bytes at the front of the transfer's buffer that have been received.
    pub(super) received: usize,
    /// The number of the next message.
    pub(super) next: u64,
}

/// The state of sending, which one thread at a time uses.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) transfer: Transfer,
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) cut_off: bool,
    /// The weaker endpoint's duplicates that are not fetched yet, by message number.
    pub(super) unfetched: VecDeque<(u64, Vec<Owned>)>,
    /// Whether the stronger endpoint was closed before it fetched some of them.
    pub(super) has_lost: bool,
}

impl Writer {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, next: 0, cut_off: false, unfetched: VecDeque::new(), has_lost: false }
    }
}

/// The outcome of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The transfer that was waited for is done.
    Done,
    /// The stronger endpoint has fetched objects.
    Fetched,
    /// The peer process has exited.
    Exited,
    /// The read that ran beside the wait is done.
    SideRead,
    /// The deadline passed.
    TimedOut,
}

impl Endpoint {
    pub(super) fn new(
        peer: Peer,
        page_memory: Words<WORDS>,
        fetched: Owned,
        reader: Reader,
        writer: Writer,
    ) -> Self {
        Self {
            peer,
            page_memory,
            fetched,
            reader: TimedMutex::new(reader),
            writer: TimedMutex::new(writer),
            broken: OnceLock::new(),
            has_exited: OnceLock::new(),
            allowed: Arc::new(KindFilter::default()),
        }
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.peer {
            Peer::Weaker(process) | Peer::Stronger(Ok(process)) => Some(process),
            Peer::Stronger(Err(_)) => None,
        }
    }

    pub(crate) fn process_id(&self) -> u32 {
        match &self.peer {
            Peer::Weaker(process) | Peer::Stronger(Ok(process)) => process.id(),
            Peer::Stronger(Err(unopened)) => unopened.id,
        }
    }

    pub(super) fn page(&self) -> OwnershipPage<'_> {
        OwnershipPage(self.page_memory.words())
    }

    /// Returns the state of ownership of the objects that this endpoint sends.
    pub(super) fn outgoing(&self) -> Turnover<'_> {
        match &self.peer {
            Peer::Weaker(_) => self.page().pushed(),
            Peer::Stronger(_) => self.page().pulled(),
        }
    }

    /// Returns the state of ownership of the objects that this endpoint receives.
    pub(super) fn incoming(&self) -> Turnover<'_> {
        match &self.peer {
            Peer::Weaker(_) => self.page().pulled(),
            Peer::Stronger(_) => self.page().pushed(),
        }
    }

    /// Waits for a transfer of this endpoint, for the peer process to exit, and at a weaker endpoint for the stronger
    /// one to fetch objects. `side_read` is a second transfer; if several are ready, it is reported last.
    pub(super) fn wait_for(
        &self,
        done: Option<BorrowedHandle<'_>>,
        side_read: Option<BorrowedHandle<'_>>,
        deadline: Deadline,
    ) -> SysResult<Woken> {
        const MAX: usize = 4;
        let fetched = match &self.peer {
            Peer::Weaker(_) => None,
            Peer::Stronger(_) => Some(self.fetched.as_handle()),
        };
        let process = self.process().map(AsHandle::as_handle);
        let all = [
            (done, Woken::Done),
            (fetched, Woken::Fetched),
            (process, Woken::Exited),
            (side_read, Woken::SideRead),
        ];
        let mut objects = [self.fetched.as_handle(); MAX];
        let mut outcomes = [Woken::TimedOut; MAX];
        let mut count = 0;
        for (object, outcome) in all {
            if let Some(object) = object {
                objects[count] = object;
                outcomes[count] = outcome;
                count += 1;
            }
        }
        let index = wait::any(&objects[..count], deadline)?;
        Ok(index.map_or(Woken::TimedOut, |index| outcomes[index]))
    }

    pub(super) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let context = format!("the channel to process {}", self.process_id());
        move |error| Error::system(context, error)
    }

    /// Returns the error for a closed pipe: the peer process has exited, or has closed its endpoint.
    pub(super) fn disconnect_error(&self) -> Error {
        let process = self.process_id();
        let is_going = || match &self.peer {
            Peer::Weaker(process) | Peer::Stronger(Ok(process)) => process.is_going(),
            Peer::Stronger(Err(unopened)) => unopened.has_exited,
        };
        // A subscriber that uses this channel would begin the same initialization again.
        let _events = DeferredEvents::begin();
        let has_exited = || *self.has_exited.get_or_init(is_going);
        if self.outgoing().taking_has_ended() || !has_exited() {
            return Error::Disconnected { pid: process };
        }
        Error::ProcessExited { pid: process, context: "use the channel".into() }
    }

    /// Closes the channel because the peer broke a rule, and returns the error.
    pub(super) fn protocol_error(&self, reason: Broken) -> Error {
        Error::Protocol { pid: self.process_id(), reason: self.broken.get_or_init(|| reason) }
    }

    pub(super) fn check_not_broken(&self) -> Result<()> {
        self.broken.get().map_or(Ok(()), |reason| Err(self.protocol_error(reason)))
    }
}
