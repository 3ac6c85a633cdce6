//! `Endpoint`: this process's endpoint of a channel, its peer process, and the reason why it was closed.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::readiness::{Found, Readiness};
use super::recv_buffer::RecvBuffer;
use crate::channel::calls::{Calls, Signal, Want};
use crate::channel::tasks::Tasks;
use crate::channel::timed_mutex::TimedMutex;
use crate::channel::wire::Broken;
use crate::channel::{KindFilter, Limits, handshake};
use crate::error::{Error, ProcessName, Result};
use crate::process::Process;
use crate::sys::create_object::{self, What};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::mutex::{Mutex, MutexGuard};
use crate::sys::shared_descriptor::SharedDescriptor;
use crate::sys::unix_socket::MAX_PACKET;
use crate::sys::{DeferredEvents, SysError, SysResult, unix_socket, wait};
use crate::wait::set::Memberships;
use crate::wait::{Deadline, Member};

/// The time after which a send that can't be told looks again whether it may read.
const WITHOUT_EVENT: Duration = Duration::from_millis(20);

/// How long a flush waits for the end of other threads' calls when the connection has ended. They take microseconds then.
const NOTE_TIME: Duration = Duration::from_millis(250);

/// The state of receiving. It is locked only while a thread reads what has arrived, never while one waits.
///
/// As in [`Endpoint`], the fields that each message uses come first.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::channel) struct Receiving {
    /// The number of threads that wait for the socket and not for [`Readiness`]. No other thread may leave a message in the
    /// buffer meanwhile: nothing would tell them.
    pub(in crate::channel) waiting: usize,
    /// Whether a thread waits in the call that receives a packet. It doesn't hold the lock meanwhile.
    pub(super) waits_for_packet: bool,
    /// Whether the last thread that received had to wait, so that the next one will have to as well.
    pub(super) had_to_wait: bool,
    /// Whether the endpoint's [`Readiness`] and the sets say that the buffer has a message.
    is_kept: bool,
    /// Whether this process waits for a greeting with the peer process's credentials.
    pub(super) asks: bool,
    /// Whether the socket limits the time of a receive that waits.
    pub(super) has_timeout: bool,
    /// Whether a task that sends waits until it may read into the buffer again.
    pub(super) wakes_for_room: bool,
    /// Wakes a thread that sends and waits for that room.
    room: Option<Arc<Owned>>,
    pub(in crate::channel) calls: Calls,
    pub(super) buffer: RecvBuffer,
    pub(in crate::channel) tasks: Tasks,
}

impl Receiving {
    /// Returns whether a message was read and not received yet.
    fn has_message(&self) -> bool {
        self.calls.has_message() || self.buffer.has_message()
    }

    /// Returns whether a send waits until it may read into the buffer again.
    fn is_room_awaited(&self) -> bool {
        self.room.is_some() || self.wakes_for_room
    }

    /// Returns whether a send may read into the buffer while it waits. It may not if the buffer is full, or if another
    /// thread waits to receive and will read itself.
    pub(super) fn may_read_beside(&self) -> bool {
        self.waiting == 0 && !self.buffer.is_full()
    }
}

/// The state of sending, which one thread at a time uses.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::channel) struct Writer {
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) cut_off: bool,
    /// Whether the rest of a message could not be sent.
    pub(in crate::channel) has_lost: bool,
    /// The rest of a message that a task has begun to send. The next send finishes it first.
    pub(in crate::channel) unfinished: Option<Unfinished>,
}

/// A message that was written in part.
#[derive(Debug)]
pub(in crate::channel) struct Unfinished {
    /// The bytes that weren't written at first.
    pub(super) bytes: Vec<u8>,
    /// How many of them were written since.
    pub(super) written: usize,
}

/// The process at the other endpoint.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    Known(Process),
    /// A process that this process couldn't open, because it had exited or closed its endpoint. Its earlier messages
    /// can still be received. While the peer's endpoint travels, no process is known; then the id is zero.
    Unopened {
        id: u32,
        has_exited: bool,
    },
}

impl Peer {
    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Known(process) => process.id(),
            Self::Unopened { id, .. } => *id,
        }
    }

    /// Returns whether the process has exited or is exiting, if that is known.
    pub(super) fn is_going(&self) -> bool {
        match self {
            Self::Known(process) => process.is_going(),
            Self::Unopened { has_exited, .. } => *has_exited,
        }
    }
}

/// The fields lie in memory in this order, and those that each message uses come first. With thousands of channels, the memory of
/// a channel has left the processor's caches, and each line of 64 bytes takes as long as a hundred instructions and more.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Endpoint {
    /// Declared first: the endpoint leaves its sets before its descriptors are closed.
    pub(crate) memberships: Memberships,
    pub(super) socket: SharedDescriptor,
    /// The id of the peer process, for messages and errors.
    pub(super) peer_id: AtomicU32,
    /// The greeting that this process still has to send, as the number of a [`Greeting`](super::travel).
    pub(super) owed: AtomicU8,
    /// Whether this process has closed the endpoint.
    pub(super) is_closed: AtomicBool,
    /// Whether the peer has broken a rule. It is set after `broken`.
    is_broken: AtomicBool,
    /// Whether the peer closed its endpoint before it had read everything.
    lost: AtomicBool,
    /// The maximum length of the packets that this endpoint sends.
    pub(super) packet_length: AtomicUsize,
    /// Tells waits for several objects that there is something to receive. Created at the first such wait.
    pub(super) readiness: OnceLock<Readiness>,
    /// The number of times that the peer has changed.
    pub(super) peer_changes: AtomicU32,
    pub(in crate::channel) writer: TimedMutex<Writer>,
    pub(in crate::channel) receiving: Mutex<Receiving>,
    pub(crate) allowed: Arc<KindFilter>,
    pub(super) peer: Mutex<Peer>,
    /// Wakes the threads that wait for another thread's reading.
    pub(in crate::channel) signal: Signal,
    /// The rule that the peer broke. From then on nothing is read or written.
    broken: OnceLock<Broken>,
    /// Whether the peer process had exited when the connection was found closed.
    is_gone: OnceLock<bool>,
}

/// The outcome of a wait to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Woken {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer process has exited.
    pub(super) exited: bool,
}

impl Endpoint {
    pub(super) fn new(socket: Arc<Owned>, peer: Peer) -> Self {
        Self {
            memberships: Memberships::default(),
            socket: socket.into(),
            peer_id: AtomicU32::new(peer.id()),
            peer: Mutex::new(peer),
            peer_changes: AtomicU32::new(0),
            owed: AtomicU8::new(0),
            receiving: Mutex::new(Receiving::default()),
            signal: Signal::default(),
            readiness: OnceLock::new(),
            writer: TimedMutex::new(Writer::default()),
            packet_length: AtomicUsize::new(MAX_PACKET),
            broken: OnceLock::new(),
            is_broken: AtomicBool::new(false),
            is_gone: OnceLock::new(),
            lost: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            allowed: Arc::new(KindFilter::default()),
        }
    }

    /// Returns the socket, which a runtime waits for.
    #[cfg(feature = "_async")]
    pub(crate) fn socket(&self) -> Arc<Owned> {
        self.socket.owner()
    }

    pub(crate) fn process(&self) -> Option<Process> {
        match &*self.peer.lock() {
            Peer::Known(process) => Some(process.clone()),
            Peer::Unopened { .. } => None,
        }
    }

    /// Returns whether the peer process has exited, as far as it is known.
    pub(in crate::channel) fn has_other_exited(&self) -> bool {
        self.process().is_some_and(|process| process.has_exited().unwrap_or(true))
    }

    /// Does nothing: only on Windows does a sender have to know what this process accepts.
    #[allow(clippy::unused_self, reason = "on Windows the peer is told")]
    pub(crate) fn show_allowed(&self) {}

    pub(crate) fn process_id(&self) -> u32 {
        self.peer_id.load(Relaxed)
    }

    /// Returns the descriptor that is readable while there is something to receive.
    pub(crate) fn watch(&self) -> Result<BorrowedFd<'_>> {
        if let Some(readiness) = self.readiness.get() {
            return Ok(readiness.as_fd());
        }
        // While `receiving` is locked, the peer doesn't change.
        let mut receiving = self.receiving.lock();
        let process = self.process();
        let process = process.as_ref().map(HasHandle::handle);
        let readiness =
            Readiness::of(&self.readiness, self.socket.as_fd(), process).map_err(self.failed())?;
        receiving.is_kept = receiving.has_message();
        self.publish_kept(receiving.is_kept)?;
        Ok(readiness.as_fd())
    }

    /// Returns what a set waits for.
    pub(crate) fn member(&self) -> Result<Member> {
        Ok(Member::of_channel(self.socket.owner(), self.process().as_ref().map(Process::shared_handle)))
    }

    /// Tells a new set whether the buffer has a message, and which process is the peer now. It may have changed before the set could
    /// be told.
    pub(crate) fn publish_to_new(&self) -> Result<()> {
        let mut receiving = self.receiving.lock();
        self.tell_process().map_err(self.failed())?;
        receiving.is_kept = receiving.has_message();
        self.publish_kept(receiving.is_kept)
    }

    /// Tells the sets which process is the peer. The peer must not change meanwhile.
    pub(super) fn tell_process(&self) -> SysResult<()> {
        let handle = self.process().map(|process| process.shared_handle());
        self.memberships.tell(|set, number| set.set_process(number, handle.clone()))
    }

    fn publish_kept(&self, is_kept: bool) -> Result<()> {
        if let Some(readiness) = self.readiness.get() {
            readiness.set_kept(is_kept).map_err(self.failed())?;
        }
        self.memberships.tell(|set, number| set.set_buffered(number, is_kept)).map_err(self.failed())
    }

    /// Tells the waiting threads whether the receive buffer has a message, and room.
    #[inline]
    pub(super) fn publish(&self, receiving: &mut Receiving) -> Result<()> {
        // Most of the time, no other thread waits for either.
        if !receiving.is_room_awaited() && self.readiness.get().is_none() && !self.memberships.exist() {
            return Ok(());
        }
        self.publish_to_others(receiving)
    }

    fn publish_to_others(&self, receiving: &mut Receiving) -> Result<()> {
        if receiving.is_room_awaited() && receiving.may_read_beside() {
            if std::mem::take(&mut receiving.wakes_for_room) {
                receiving.tasks.wake_all();
            }
            if let Some(room) = receiving.room.take() {
                create_object::set_event(room.handle()).map_err(self.failed())?;
            }
        }
        if self.readiness.get().is_none() && !self.memberships.exist() {
            return Ok(());
        }
        let is_kept = receiving.has_message();
        if is_kept != receiving.is_kept {
            self.publish_kept(is_kept)?;
            receiving.is_kept = is_kept;
        }
        Ok(())
    }

    /// Waits until there is something to receive, or until the deadline. A thread calls it with the lock that it held when
    /// it found nothing, so that it misses nothing.
    pub(super) fn wait_to_receive(
        &self,
        mut receiving: MutexGuard<'_, Receiving>,
        want: Want,
        deadline: Deadline,
    ) -> Result<Found> {
        let is_call = want != Want::Message;
        // A call waits for the socket alone, because messages for other threads are no reason to wake up.
        if let Some(readiness) = self.readiness.get().filter(|_| !is_call) {
            drop(receiving);
            return readiness.wait(deadline).map_err(self.failed());
        }
        receiving.waiting += 1;
        receiving.calls.reads |= is_call;
        drop(receiving);
        let socket = PollFd::from_borrowed_fd(self.socket.as_fd(), unix_socket::READABLE);
        let found = match &self.process() {
            Some(process) => {
                let mut polled = [socket, PollFd::from_borrowed_fd(process.handle(), PollFlags::IN)];
                wait::ready(&mut polled, deadline.timeout()).map(|_| {
                    let [input, exit] = polled.map(|polled| !polled.revents().is_empty());
                    Found { input, exit }
                })
            }
            None => wait::ready(&mut [socket], deadline.timeout()).map(|input| Found { input, exit: false }),
        };
        let mut receiving = self.receiving.lock();
        receiving.waiting -= 1;
        if is_call {
            receiving.calls.reads = false;
        }
        // This thread may take what it waits for, and go.
        self.notify(&receiving);
        self.publish(&mut receiving)?;
        found.map_err(self.failed())
    }

    /// Waits until a send can go on, or until the peer process has exited. The process is watched too, because a child of
    /// it may have inherited its endpoint; then the socket shows no end of file.
    ///
    /// The peer may be sending too, and may receive only then. So the wait also ends when the socket is readable, or, if
    /// this send may not read it now, when it may again.
    pub(super) fn wait_to_send(&self, deadline: Deadline) -> Result<Woken> {
        let mut room = None;
        let mut until = deadline;
        let mut receiving = self.receiving.lock();
        let asked = if receiving.may_read_beside() {
            PollFlags::IN | PollFlags::OUT
        } else {
            match create_object::create(What::Event { manual_reset: true }) {
                Ok(event) => room = Some(Arc::new(event)),
                // Without a free descriptor, nothing can wake this thread.
                Err(_) => until = deadline.or_sooner(WITHOUT_EVENT),
            }
            receiving.room.clone_from(&room);
            PollFlags::OUT
        };
        drop(receiving);
        let process = self.process();
        let mut polled = Vec::with_capacity(3);
        polled.push(PollFd::from_borrowed_fd(self.socket.as_fd(), asked));
        polled.extend(room.as_ref().map(|room| PollFd::from_borrowed_fd(room.handle(), PollFlags::IN)));
        polled.extend(
            process.as_ref().map(|process| PollFd::from_borrowed_fd(process.handle(), PollFlags::IN)),
        );
        let is_woken = wait::ready(&mut polled, until.timeout()).map_err(self.failed());
        let events = polled[0].revents();
        let exited = process.is_some() && polled.last().is_some_and(|last| !last.revents().is_empty());
        self.receiving.lock().room = None;
        if !is_woken? {
            return Ok(Woken::default());
        }
        // A closed connection needs no flag of its own: the next call reports it.
        Ok(Woken {
            readable: events.contains(PollFlags::IN),
            writable: events.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR),
            exited,
        })
    }

    /// Returns whether the kernel has reported that the peer closed its endpoint with unread data, once the connection has
    /// ended. A call of another thread may have got the report, and not noted it yet.
    fn has_lost(&self) -> bool {
        let deadline = Deadline::after(NOTE_TIME);
        loop {
            // Such a call holds one of the locks or is marked, and ends at once because the connection has ended.
            let is_calling = self.writer.take().is_none() || self.receiving.lock().waits_for_packet;
            if self.lost.load(Relaxed) {
                return true;
            }
            if !is_calling || deadline.has_passed() {
                return false;
            }
            std::thread::yield_now();
        }
    }

    pub(super) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        |error| Error::system(format!("the channel to {}", ProcessName(self.process_id())), error)
    }

    /// Returns the error for a closed connection: the peer process has exited, or has closed its endpoint.
    pub(in crate::channel) fn disconnect_error(&self) -> Error {
        if self.is_closed.load(Relaxed) {
            return Error::Disconnected { pid: std::process::id() };
        }
        let process = self.process_id();
        // A subscriber that uses this channel would begin the same initialization again.
        let _events = DeferredEvents::begin();
        if *self.is_gone.get_or_init(|| self.peer.lock().clone().is_going()) {
            return Error::ProcessExited { pid: process, context: "use the channel".into() };
        }
        Error::Disconnected { pid: process }
    }

    /// Closes the channel because the peer broke a rule, and returns the error.
    pub(in crate::channel) fn protocol_error(&self, broken: impl Into<Broken>) -> Error {
        let broken = broken.into();
        let is_first = self.broken.set(broken).is_ok();
        self.is_broken.store(true, Release);
        if is_first && matches!(broken, Broken::Version(_)) {
            self.tell_version();
        }
        // Wakes all threads that wait at either endpoint.
        unix_socket::shut_down(self.socket.as_fd());
        self.broken.get().unwrap_or(&broken).error(self.process_id())
    }

    /// Tells a peer that speaks another version the own one, if it hasn't seen it in a frame.
    fn tell_version(&self) {
        if self
            .writer
            .take()
            .is_some_and(|writer| writer.next == 0 && !writer.cut_off && writer.unfinished.is_none())
        {
            let _ = unix_socket::send(self.socket.as_fd(), &handshake::VERSION_NOTICE, &[]);
        }
    }

    /// Returns an error if the peer broke a rule, or this process has closed the endpoint.
    #[inline]
    pub(in crate::channel) fn check_open(&self) -> Result<()> {
        if !self.is_broken.load(Acquire) && !self.is_closed.load(Relaxed) {
            Ok(())
        } else {
            self.why_not_open()
        }
    }

    #[cold]
    fn why_not_open(&self) -> Result<()> {
        if let Some(broken) = self.broken.get() {
            return Err(broken.error(self.process_id()));
        }
        if self.is_closed.load(Relaxed) { Err(self.disconnect_error()) } else { Ok(()) }
    }

    /// Closes the connection, which ends all waits at both endpoints.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        unix_socket::shut_down(self.socket.as_fd());
        self.writer.tasks.wake_first();
        // The messages in the buffer can't be received any more.
        let mut receiving = self.receiving.lock();
        receiving.buffer.give_up();
        let kept = receiving.calls.give_up();
        self.notify(&receiving);
        // The socket is readable from now on, so no waiting thread depends on this.
        let _ = self.publish(&mut receiving);
        drop(receiving);
        drop(kept);
    }

    pub(in crate::channel) fn set_limits(&self, limits: Limits) {
        self.receiving.lock().buffer.limits = limits;
    }

    /// Records that the peer closed its endpoint with unread data. The kernel reports this only once.
    pub(super) fn note_reset(&self, error: &std::io::Error) {
        if unix_socket::is_reset(error) {
            self.lost.store(true, Relaxed);
        }
    }

    /// Finishes the message that a task has begun to send, if there is one, and checks that the peer has not closed its
    /// endpoint before it received everything. Apart from that it never waits, because the kernel holds what was sent and
    /// delivers it even after this endpoint is closed. Returns false if the deadline passed first.
    pub(crate) fn flush(&self, deadline: Deadline) -> Result<bool> {
        self.check_open()?;
        // A thread that sends has finished it before.
        if let Some(mut writer) = self.writer.take() {
            if !self.finish(&mut writer, deadline)? {
                return Ok(false);
            }
        }
        self.check_flushed()
    }

    /// Checks that the peer has not closed its endpoint before it received everything.
    pub(super) fn check_flushed(&self) -> Result<bool> {
        let peer = self.peer_changes.load(Relaxed);
        let has_exited =
            self.process().as_ref().map_or(Ok(false), Process::has_exited)? && !self.has_left(peer)?;
        let hung_up = unix_socket::is_hung_up(self.socket.as_fd()).map_err(self.failed())?;
        if !hung_up {
            // If another process still has the peer's endpoint, only the exit of the process shows.
            return if has_exited { Err(self.disconnect_error()) } else { Ok(true) };
        }
        // A peer that called `close` receives nothing any more, though its socket may still be open. The kernel sets the error
        // before it discards what a closed socket has not received, so the error is asked for last.
        let is_unread = unix_socket::has_unread(self.socket.as_fd()).map_err(self.failed())?;
        if let Some(error) = unix_socket::pending_error(self.socket.as_fd()).map_err(self.failed())? {
            self.note_reset(&error);
        }
        if is_unread || self.has_lost() { Err(self.disconnect_error()) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// The size of a line of most processors' caches.
    const LINE: usize = 64;

    #[test]
    fn memory_that_each_message_uses_is_in_few_lines() {
        let head = offset_of!(Endpoint, writer);
        let writer = TimedMutex::<Writer>::UNCONTENDED;
        let receiving = offset_of!(Endpoint, allowed) - offset_of!(Endpoint, receiving) - size_of::<Tasks>();
        assert!(head <= 2 * LINE, "{head}");
        assert!(writer <= LINE + 16, "{writer}");
        assert!(receiving <= 5 * LINE, "{receiving}");
    }
}
