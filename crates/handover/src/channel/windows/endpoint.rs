//! One end of a channel: whom it leads to, what it waits for, and why it has ended.
//!
//! The *stronger* end, a parent or a server, has a handle to the weaker process with which it duplicates in
//! both directions. A message from it:
//!
//! 1. it puts the objects into the weaker process's table,
//! 2. writes the frame with their values there,
//! 3. and gives them away in the ledger; if the weaker end has closed before that, it closes them over there.
//!
//! A message from the weaker end:
//!
//! 1. it duplicates the objects in its own table,
//! 2. writes the frame with their values,
//! 3. the stronger end takes them in the ledger, duplicates each to itself, says so in the ledger and sets an
//!    event,
//! 4. and the weaker end closes its duplicates, when it sends, receives or waits to.
//!
//! `send.rs`, `receive.rs` and `close.rs` do it.

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
use crate::sys::{SysError, SysResult};
use crate::wait::{self, Deadline};

/// After which time it is looked again what another thread of this process has done or left undone.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Who has the other end.
#[derive(Debug)]
pub(super) enum Peer {
    /// A child or a client. The handle can duplicate.
    Weaker(Process),
    /// The parent or server. The handle can only wait.
    Stronger(Result<Process, Unopened>),
}

/// A stronger process of which there is no handle, because it had ended before, or mustn't be opened. Then
/// the end of the pipe tells of its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unopened {
    pub(super) id: u32,
    pub(super) has_exited: bool,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) peer: Peer,
    words: Words<WORDS>,
    /// Set by the stronger end when it has fetched something.
    pub(super) fetched: Owned,
    pub(super) reader: TimedMutex<Reader>,
    pub(super) writer: TimedMutex<Writer>,
    /// What the other end did wrong; from then on nothing is read or written.
    pub(super) broken: OnceLock<Broken>,
    /// Whether the end of the pipe was the end of the process.
    is_gone: OnceLock<bool>,
    pub(crate) allowed: Arc<KindFilter>,
}

/// What one thread at a time needs to read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) transfer: Transfer,
    /// How many bytes of the transfer's buffer have been received.
    pub(super) received: usize,
    /// The number of the next message.
    pub(super) next: u64,
}

/// What one thread at a time needs to write.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) transfer: Transfer,
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) cut_off: bool,
    /// The weaker end's duplicates that haven't been fetched, by the number of their message.
    pub(super) to_be_fetched: VecDeque<(u64, Vec<Owned>)>,
    /// Whether the stronger end has closed without some of them.
    pub(super) lost: bool,
}

impl Writer {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, next: 0, cut_off: false, to_be_fetched: VecDeque::new(), lost: false }
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The transfer that was waited for.
    Done,
    /// The stronger end has fetched something.
    Fetched,
    /// The other process has ended.
    Gone,
    /// Something was read beside.
    Beside,
    /// Time.
    Nothing,
}

impl Endpoint {
    pub(super) fn new(
        peer: Peer,
        words: Words<WORDS>,
        fetched: Owned,
        reader: Reader,
        writer: Writer,
    ) -> Self {
        Self {
            peer,
            words,
            fetched,
            reader: TimedMutex::new(reader),
            writer: TimedMutex::new(writer),
            broken: OnceLock::new(),
            is_gone: OnceLock::new(),
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

    pub(super) fn ledger(&self) -> OwnershipPage<'_> {
        OwnershipPage(self.words.words())
    }

    /// Who owns what this end sends.
    pub(super) fn outgoing(&self) -> Turnover<'_> {
        match &self.peer {
            Peer::Weaker(_) => self.ledger().pushed(),
            Peer::Stronger(_) => self.ledger().pulled(),
        }
    }

    /// Who owns what this end receives.
    pub(super) fn incoming(&self) -> Turnover<'_> {
        match &self.peer {
            Peer::Weaker(_) => self.ledger().pulled(),
            Peer::Stronger(_) => self.ledger().pushed(),
        }
    }

    /// Waits for a transfer of this end's, for what ends it from outside, and, at a weaker end, for what the
    /// other has fetched. `beside` is a second transfer, which doesn't matter as much.
    pub(super) fn wait_for(
        &self,
        done: Option<BorrowedHandle<'_>>,
        beside: Option<BorrowedHandle<'_>>,
        deadline: Deadline,
    ) -> SysResult<Woken> {
        const MOST: usize = 4;
        let fetched = match &self.peer {
            Peer::Weaker(_) => None,
            Peer::Stronger(_) => Some(self.fetched.as_handle()),
        };
        let process = self.process().map(AsHandle::as_handle);
        let all =
            [(done, Woken::Done), (fetched, Woken::Fetched), (process, Woken::Gone), (beside, Woken::Beside)];
        let mut objects = [self.fetched.as_handle(); MOST];
        let mut meanings = [Woken::Nothing; MOST];
        let mut count = 0;
        for (object, meaning) in all {
            if let Some(object) = object {
                objects[count] = object;
                meanings[count] = meaning;
                count += 1;
            }
        }
        let place = wait::any(&objects[..count], deadline)?;
        Ok(place.map_or(Woken::Nothing, |place| meanings[place]))
    }

    pub(super) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let what = format!("the channel to process {}", self.process_id());
        move |error| Error::system(what, error)
    }

    /// Why nothing more comes or goes.
    pub(super) fn ended(&self) -> Error {
        let process = self.process_id();
        let is_going = || match &self.peer {
            Peer::Weaker(process) | Peer::Stronger(Ok(process)) => process.is_going(),
            Peer::Stronger(Err(unopened)) => unopened.has_exited,
        };
        let is_gone = || *self.is_gone.get_or_init(is_going);
        if self.outgoing().taking_has_ended() || !is_gone() {
            return Error::Disconnected { pid: process };
        }
        Error::ProcessExited { pid: process, context: "reach over the channel".into() }
    }

    /// The other end has broken a rule: the channel ends here.
    pub(super) fn broke_off(&self, why: Broken) -> Error {
        Error::Protocol { pid: self.process_id(), reason: self.broken.get_or_init(|| why) }
    }

    pub(super) fn check_not_broken(&self) -> Result<()> {
        self.broken.get().map_or(Ok(()), |why| Err(self.broke_off(why)))
    }
}
