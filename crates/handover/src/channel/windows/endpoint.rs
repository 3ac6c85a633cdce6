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
//!
//! Threads that wait share one pending read, which stays pending when a wait ends. It sets the event `ready` when it is
//! finished. If no read is pending, the event says whether there is something to receive. So every wait for input is a
//! wait for this event, and no lock is held meanwhile.

use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use super::outbox::{Copies, Outbox};
use super::ownership_page::{Ownership, OwnershipPage, WORDS};
use super::peer::{Current, Peer, Travel};
use crate::channel::calls::{Calls, Signal};
use crate::channel::tasks::Tasks;
use crate::channel::timed_mutex::TimedMutex;
use crate::channel::wire::Broken;
use crate::channel::{KindFilter, Limits, handshake};
use crate::error::{Error, ProcessName, Result};
use crate::process::Process;
use crate::sys::exit_watch::ExitWatch;
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::mutex::Mutex;
use crate::sys::overlapped::{Begun, Pipe, Transfer};
use crate::sys::{DeferredEvents, SysError, SysResult};
use crate::wait::set::Memberships;
use crate::wait::{self, Deadline, Member};

#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Declared first: the endpoint leaves its sets before its handles are closed.
    pub(crate) memberships: Memberships,
    pub(super) current: Arc<Mutex<Current>>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pipe: Arc<Pipe>,
    /// Set while there is something to receive, also if no thread has read it from the pipe yet. The event is exact while a
    /// thread waits for it, or other code watches it.
    pub(super) ready: Arc<Owned>,
    /// Set when a write is finished, or when a flush has to look again.
    pub(super) written: Arc<Owned>,
    pub(in crate::channel) receiving: Mutex<Receiving>,
    /// Wakes the threads that wait for another thread's reading.
    pub(in crate::channel) signal: Signal,
    pub(in crate::channel) writer: TimedMutex<Writer>,
    /// The state that the endpoint needs to leave this process, if it can.
    pub(super) travel: Option<Travel>,
    /// The rule that the peer broke. From then on nothing is read or written.
    pub(super) broken: OnceLock<Broken>,
    /// Whether the peer process had exited when the pipe was found closed.
    has_exited: OnceLock<bool>,
    /// Whether this process has closed the endpoint, or it has left.
    is_closed: AtomicBool,
    /// Whether the endpoint has left this process.
    pub(super) has_left: AtomicBool,
    pub(crate) allowed: Arc<KindFilter>,
}

/// The maximum number of bytes that one call writes. The system allocates memory for each pending write. A message of 1 MiB
/// and its table fit, because a second call costs as much as the first.
pub(super) const MAX_WRITTEN: usize = 1024 * 1024 + 64 * 1024;

/// The pipe of an endpoint, and the events of its reads and writes.
#[derive(Debug)]
pub(super) struct Connection {
    pipe: Arc<Pipe>,
    ready: Arc<Owned>,
    written: Arc<Owned>,
}

impl Connection {
    /// The events must be manual-reset ones.
    pub(super) fn new(pipe: Owned, events: [Owned; 2]) -> Self {
        let [ready, written] = events.map(Arc::new);
        Self { pipe: Arc::new(Pipe::new(Arc::new(pipe))), ready, written }
    }
}

/// The state of receiving. It is locked only while a thread reads what has arrived, never while one waits.
#[derive(Debug)]
pub(in crate::channel) struct Receiving {
    /// The read that all threads share. Unless it is one beside a message, it is pending only if no complete message is in
    /// its buffer.
    pub(super) transfer: Transfer,
    /// The number of bytes at the front of the transfer's buffer that have been received.
    pub(super) received: usize,
    /// The number of the next message.
    pub(super) next: u64,
    /// The length of the last message, which the next one is expected to have too.
    pub(super) expected: usize,
    /// The number of bytes that the last read asked for.
    pub(super) asked: usize,
    /// Whether the last read was one that a send or a call began, although there was a message to receive. It doesn't set
    /// `ready`.
    pub(super) is_beside: bool,
    /// Whether `ready` is set. It counts only while no read is pending that sets it.
    pub(super) is_set: bool,
    /// Whether a thread has found that the peer process has exited, and that nothing is left to read.
    pub(super) has_exited: bool,
    /// The number of threads that wait for `ready`.
    pub(in crate::channel) waiting: usize,
    /// Whether other code waits for `ready`.
    pub(super) is_watched: bool,
    /// Whether a send waits until the buffer has room, so that it can read again.
    pub(super) is_awaited: bool,
    /// Wakes the sends that read although the buffer has a message. It exists until one of them doesn't wait any more.
    pub(super) beside: Option<Arc<Owned>>,
    pub(in crate::channel) calls: Calls,
    pub(in crate::channel) tasks: Tasks,
    /// Set when the read of a call is done that goes on although messages are kept for other threads.
    pub(super) call_event: Option<Arc<Owned>>,
    /// How much the peer may send.
    pub(super) limits: Limits,
}

/// The state of sending, which one thread at a time uses.
#[derive(Debug)]
pub(in crate::channel) struct Writer {
    pub(super) transfer: Transfer,
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) cut_off: bool,
    /// The message that a task has begun to send. The next send finishes it first.
    pub(in crate::channel) unfinished: Option<Unfinished>,
    /// Whether such a message could not be sent.
    pub(in crate::channel) has_lost: bool,
}

/// A message that is in the writer's buffer, and not completely in the pipe.
#[derive(Debug)]
pub(in crate::channel) struct Unfinished {
    pub(super) copies: Copies,
    /// How many of its bytes were written.
    pub(super) written: usize,
    /// The endpoints that leave with it.
    pub(super) travellers: Vec<Arc<Endpoint>>,
}

/// The outcome of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The transfer that was waited for is done.
    Done,
    /// The stronger endpoint has fetched objects.
    Fetched,
    /// The other endpoint was fetched, which this process has sent over another channel.
    Carried,
    /// The peer process has exited.
    Exited,
    /// A read is done, or there is room for another one.
    Read,
    /// The deadline passed.
    TimedOut,
}

impl Endpoint {
    pub(super) fn new(
        peer: Peer,
        page_memory: Words<WORDS>,
        fetched: impl Into<Arc<Owned>>,
        connection: Connection,
        travel: Option<Travel>,
    ) -> Self {
        let Connection { pipe, ready, written } = connection;
        let receiving = Receiving::new(Transfer::new(Arc::clone(&pipe), Arc::clone(&ready)));
        let writer = Writer {
            transfer: Transfer::new(Arc::clone(&pipe), Arc::clone(&written)),
            next: 0,
            cut_off: false,
            unfinished: None,
            has_lost: false,
        };
        let outbox = Outbox {
            page_memory,
            fetched: fetched.into(),
            written: Arc::clone(&written),
            unfetched: Mutex::default(),
        };
        Self {
            memberships: Memberships::default(),
            current: Arc::new(Mutex::new(Current::new(peer))),
            outbox: Arc::new(outbox),
            pipe,
            ready,
            written,
            receiving: Mutex::new(receiving),
            signal: Signal::default(),
            writer: TimedMutex::new(writer),
            travel,
            broken: OnceLock::new(),
            has_exited: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            allowed: Arc::new(KindFilter::default()),
        }
    }

    /// Returns the process at the other endpoint, and the role of this one.
    pub(super) fn peer(&self) -> Peer {
        self.notice_moves(false);
        self.current.lock().peer.clone()
    }

    /// Notices that the other endpoint has left the peer process for another one, which isn't known. While it is moving, it
    /// counts as having left if the peer process has exited.
    fn notice_moves(&self, has_exited: bool) {
        let Some(travel) = &self.travel else { return };
        let moves = self.page().moves(1 - travel.side);
        if moves % 2 == 1 && !has_exited {
            return;
        }
        let moves = moves.wrapping_add(moves % 2);
        if self.current.lock().moves != moves {
            Current::change(&self.current, &Peer::Equal(None), moves);
        }
    }

    /// Returns whether a process that has exited still had the other endpoint.
    pub(super) fn counts(&self, exited: &Process) -> bool {
        self.notice_moves(true);
        self.travel.is_none() || self.current.lock().peer.process().is_some_and(|peer| peer.is_same(exited))
    }

    /// Returns whether `ready` may be set because of an exit that doesn't count. It says so once.
    pub(super) fn take_stale(&self) -> bool {
        self.travel.is_some() && std::mem::take(&mut self.current.lock().is_stale)
    }

    pub(crate) fn process(&self) -> Option<Process> {
        self.peer().process().cloned()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.peer().id()
    }

    /// Tells the peer whether this process accepts sockets from it. A sender has to know that first: it can't close a socket
    /// that this process would refuse.
    pub(crate) fn show_allowed(&self) {
        self.page().set_accepts_sockets(self.side(), std::process::id(), self.allowed.names_sockets());
    }

    /// Returns whether sockets may be sent.
    pub(super) fn may_send_sockets(&self) -> bool {
        match self.peer() {
            Peer::Stronger(_) => self.page().accepts_sockets(1 - self.side(), self.process_id()),
            Peer::Weaker(_) | Peer::Same(_) | Peer::Equal(_) => true,
        }
    }

    /// Returns the peer as a sender of endpoints.
    pub(in crate::channel) fn carrier(&self) -> Option<Peer> {
        Some(self.peer())
    }

    /// Returns the peer process to wait for, unless that is this one.
    pub(super) fn other_process(&self) -> Option<Process> {
        match self.peer() {
            Peer::Same(_) => None,
            peer => peer.process().cloned(),
        }
    }

    /// Returns the event that is set when the peer changes, if that can be.
    pub(super) fn changed(&self) -> Option<Arc<Owned>> {
        self.travel.as_ref()?;
        self.current.lock().changed.clone()
    }

    pub(super) fn page(&self) -> OwnershipPage<'_> {
        self.outbox.page()
    }

    /// Returns the side of this endpoint: 0 for the server end of the pipe, which is the stronger process's if the endpoint
    /// can't travel, and 1 for the client end.
    fn side(&self) -> usize {
        match &self.travel {
            Some(travel) => travel.side,
            None => usize::from(matches!(self.peer(), Peer::Stronger(_))),
        }
    }

    /// Returns the state of ownership of the objects that this endpoint sends.
    pub(super) fn outgoing(&self) -> Ownership<'_> {
        match self.peer() {
            Peer::Weaker(_) => self.page().pushed(),
            Peer::Stronger(_) => self.page().pulled(),
            Peer::Same(_) | Peer::Equal(_) => self.page().of_side(self.side()),
        }
    }

    /// Returns the state of ownership of the objects that this endpoint receives.
    pub(super) fn incoming(&self) -> Ownership<'_> {
        match self.peer() {
            Peer::Weaker(_) => self.page().pulled(),
            Peer::Stronger(_) => self.page().pushed(),
            Peer::Same(_) | Peer::Equal(_) => self.page().of_side(1 - self.side()),
        }
    }

    /// Returns the event that the stronger endpoint sets, at a weaker endpoint.
    pub(super) fn fetched(&self) -> Option<BorrowedHandle<'_>> {
        match self.peer() {
            Peer::Stronger(_) => Some(self.outbox.fetched.as_handle()),
            _ => None,
        }
    }

    /// Waits for those of these objects that exist. If several are signaled, the result is the first of them.
    pub(super) fn wait_for<const N: usize>(
        &self,
        all: [(Option<BorrowedHandle<'_>>, Woken); N],
        deadline: Deadline,
    ) -> SysResult<Woken> {
        let mut objects = [self.ready.as_handle(); N];
        let mut outcomes = [Woken::TimedOut; N];
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

    /// Returns the event that is set while there is something to receive.
    pub(crate) fn watch(&self) -> Result<BorrowedHandle<'_>> {
        let peer = self.peer();
        if self.current.lock().watched.is_none() {
            Current::watch(&self.current, &peer, Arc::clone(&self.ready)).map_err(self.failed())?;
        }
        let mut receiving = self.receiving.lock();
        receiving.is_watched = true;
        self.publish(&mut receiving);
        Ok(self.ready.as_handle())
    }

    /// Returns what a set waits for.
    pub(crate) fn member(&self) -> Result<Member> {
        wait::member(&self.watch()?)
    }

    /// Does nothing, because the event of [`watch`](Self::watch) tells a new set everything.
    #[allow(clippy::unused_self, reason = "on Linux a set asks more than the socket")]
    pub(crate) fn publish_to_new(&self) -> Result<()> {
        Ok(())
    }

    /// Returns whether the watch for the peer process's exit has seen it.
    pub(super) fn is_exit_seen(&self) -> bool {
        let is_seen = || self.current.lock().exit_watch.as_ref().is_some_and(ExitWatch::has_exited);
        if self.travel.is_none() || !is_seen() {
            return is_seen();
        }
        self.notice_moves(true);
        is_seen()
    }

    pub(super) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        |error| Error::system(format!("the channel to {}", ProcessName(self.process_id())), error)
    }

    /// Returns the error for a closed pipe: the peer process has exited, or has closed its endpoint.
    pub(in crate::channel) fn disconnect_error(&self) -> Error {
        if self.is_closed() {
            return Error::Disconnected { pid: std::process::id() };
        }
        let peer = self.peer();
        let process = peer.id();
        let is_going = || peer.is_going() && peer.process().is_none_or(|process| self.counts(process));
        // A subscriber that uses this channel would begin the same initialization again.
        let _events = DeferredEvents::begin();
        let has_exited = || *self.has_exited.get_or_init(is_going);
        if self.outgoing().taking_has_ended() || !has_exited() {
            return Error::Disconnected { pid: process };
        }
        Error::ProcessExited { pid: process, context: "use the channel".into() }
    }

    /// Closes the channel because the peer broke a rule, and returns the error.
    pub(in crate::channel) fn protocol_error(&self, broken: impl Into<Broken>) -> Error {
        let broken = broken.into();
        if self.broken.set(broken).is_ok() && matches!(broken, Broken::Version(_)) {
            self.tell_version();
        }
        self.broken.get().unwrap_or(&broken).error(self.process_id())
    }

    /// Tells a peer that speaks another version the own one, if it hasn't seen it in a frame.
    fn tell_version(&self) {
        let is_new = |writer: &Writer| writer.next == 0 && !writer.cut_off && writer.unfinished.is_none();
        let Some(mut writer) = self.writer.take().filter(|writer| is_new(writer)) else { return };
        *writer.transfer.buffer() = handshake::VERSION_NOTICE.to_vec();
        // The pipe has room for the first bytes. A write that fails shows that the peer has closed its endpoint.
        if let Ok(Begun::UnderWay) = writer.transfer.write(0, handshake::VERSION_NOTICE.len()) {
            let _ = writer.transfer.cancel();
        }
        writer.cut_off = true;
    }

    pub(in crate::channel) fn set_limits(&self, limits: Limits) {
        self.receiving.lock().limits = limits;
    }

    /// Returns an error if the peer broke a rule, or this process has closed the endpoint.
    pub(in crate::channel) fn check_open(&self) -> Result<()> {
        if let Some(broken) = self.broken.get() {
            return Err(broken.error(self.process_id()));
        }
        if self.is_closed() { Err(self.disconnect_error()) } else { Ok(()) }
    }

    /// Returns whether [`check_open`](Self::check_open) returns an error.
    pub(super) fn is_over(&self) -> bool {
        self.broken.get().is_some() || self.is_closed()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Takes back that this process has closed the endpoint.
    pub(super) fn reopen(&self) {
        self.is_closed.store(false, SeqCst);
    }

    /// Notes that this process has closed the endpoint. Returns whether it had before.
    pub(super) fn set_closed(&self) -> bool {
        self.is_closed.swap(true, SeqCst)
    }
}
