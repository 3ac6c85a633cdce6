//! Receiving messages from an endpoint.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::endpoint::{Endpoint, Receiving};
use super::recv_buffer::{Lost, Room};
use crate::channel::calls::{Dispatched, Turn, Want};
use crate::channel::message::Arrived;
use crate::channel::wire::FrameType;
use crate::error::{Error, ProcessName, Result};
use crate::process::Process;
use crate::sys::mutex::MutexGuard;
use crate::sys::unix_socket::{self, Look, Received};
use crate::sys::{SysError, SysResult};
use crate::wait::Deadline;

/// The maximum time between the moment at which a process that is exiting closes its endpoint and its exit.
const EXIT_TIME: Duration = Duration::from_millis(250);

/// How long a receive waits for the socket alone, before it waits for the exit of the peer process too.
const ALONE: Duration = Duration::from_millis(10);

/// The maximum number of packets in a row that are read without completing a message.
const MAX_PACKETS: u32 = 64;

/// The outcome of one attempt to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// A packet. More may be available.
    Packet,
    Nothing,
    /// End of file: no process can write any more.
    End,
}

/// The outcome of a read into an empty buffer, by a thread that waits for something.
enum Packet {
    /// The message that the thread wants.
    Wanted(Arrived),
    /// Something else, which is in the buffer if it isn't the end of file.
    Other,
    Nothing,
}

/// The outcome of [`Endpoint::step`].
pub(super) enum Step<'a> {
    Arrived(Arrived),
    /// A message was given to another thread or task, or its call has ended.
    Again,
    /// Parts of a message have arrived, and more may be there.
    Parts,
    Nothing(MutexGuard<'a, Receiving>),
}

/// The outcome of a look for a message, which doesn't wait.
enum Next {
    Message(Arrived),
    /// Parts of a message have arrived, and more may be there.
    Parts,
    Nothing,
    End,
}

impl Endpoint {
    /// Receives the next message, or the reply to a call. Returns `None` when the timeout has passed.
    #[inline]
    pub(in crate::channel) fn receive(&self, want: Want, timeout: Duration) -> Result<Option<Arrived>> {
        self.settle();
        let mut receiving = self.receiving.lock();
        if !Self::is_next_in_socket(&receiving, want) {
            drop(receiving);
            return self.receive_in_steps(want, Deadline::after(timeout), None);
        }
        self.check_open()?;
        // A read that finds nothing costs as much as one that finds a message.
        let may_block = self.may_block(want, timeout);
        let mut look = if may_block && receiving.had_to_wait { Look::Wait } else { Look::Once };
        receiving.had_to_wait = look == Look::Wait;
        let mut deadline = None;
        loop {
            if look == Look::Wait {
                deadline = Some(Deadline::after(timeout));
                self.begin_wait_for_packet(&mut receiving)?;
            }
            let mut room = receiving.buffer.begin_read();
            // A thread that waits holds no lock.
            let held = (look == Look::Once).then_some(receiving);
            let received = self.receive_packet(&mut room, look);
            receiving = held.unwrap_or_else(|| self.end_wait_for_packet());
            let packet = self.end_read_of_first(&mut receiving, room, received, want);
            if look == Look::Wait || !matches!(packet, Ok(Packet::Wanted(_) | Packet::Nothing)) {
                // This thread may take what it waits for, and go. And the socket shows no more that these bytes have arrived.
                self.notify(&receiving);
                self.publish(&mut receiving)?;
            }
            let found_nothing = match packet? {
                Packet::Wanted(arrived) => return Ok(Some(arrived)),
                Packet::Nothing if look == Look::Once => {
                    receiving.had_to_wait = true;
                    if may_block {
                        look = Look::Wait;
                        continue;
                    }
                    Some(receiving)
                }
                Packet::Nothing | Packet::Other => {
                    drop(receiving);
                    None
                }
            };
            let deadline = deadline.unwrap_or_else(|| Deadline::after(timeout));
            return self.receive_in_steps(want, deadline, found_nothing);
        }
    }

    /// Receives as [`receive`](Self::receive) does. It watches the peer process too, and lets other threads and tasks read. A
    /// thread that has just found nothing in the socket passes the lock that it held.
    #[inline(never)]
    fn receive_in_steps(
        &self,
        want: Want,
        deadline: Deadline,
        mut found_nothing: Option<MutexGuard<'_, Receiving>>,
    ) -> Result<Option<Arrived>> {
        let (mut has_exited, mut peer) = (false, 0);
        let mut is_first = true;
        loop {
            let mut receiving = match found_nothing.take() {
                Some(receiving) => receiving,
                None => {
                    self.settle();
                    let mut receiving = self.receiving.lock();
                    self.check_open()?;
                    if let Some(arrived) = self.take_read(&mut receiving, want) {
                        self.publish(&mut receiving)?;
                        return Ok(Some(arrived));
                    }
                    receiving = match self.take_turn(receiving, want, deadline)? {
                        Turn::Mine(receiving) => receiving,
                        Turn::Again => continue,
                        Turn::TimedOut => return Ok(None),
                    };
                    receiving.had_to_wait = !is_first;
                    is_first = false;
                    match self.step(receiving, want, has_exited.then_some(peer), EXIT_TIME)? {
                        Step::Arrived(arrived) => return Ok(Some(arrived)),
                        Step::Parts if deadline.has_passed() => return Ok(None),
                        // Other threads get their turn.
                        Step::Parts | Step::Again => continue,
                        Step::Nothing(receiving) => receiving,
                    }
                }
            };
            is_first = false;
            receiving.had_to_wait = true;
            peer = self.peer_changes.load(Relaxed);
            // Another thread may have been sending when the peer asked.
            self.settle();
            let found = self.wait_to_receive(receiving, want, deadline)?;
            has_exited = found.exit;
            if !found.input && !found.exit && deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Reads what has arrived until there is a message, and gives it to the thread or the task that it is for.
    ///
    /// If the peer process was seen to have exited, `exited` is the number of times that the peer had changed before.
    /// `patience` is how long a process that closed its endpoint in the middle of a message may take to exit.
    pub(super) fn step<'a>(
        &self,
        mut receiving: MutexGuard<'a, Receiving>,
        want: Want,
        exited: Option<u32>,
        patience: Duration,
    ) -> Result<Step<'a>> {
        let next = match self.next(&mut receiving) {
            Ok(Next::Message(arrived)) => {
                let dispatched = self.dispatch(&mut receiving, arrived, want)?;
                self.publish(&mut receiving)?;
                drop(receiving);
                return Ok(match dispatched {
                    Dispatched::Mine(arrived) => Step::Arrived(arrived),
                    Dispatched::Kept | Dispatched::Late(_) => Step::Again,
                });
            }
            next => next,
        };
        self.publish(&mut receiving)?;
        match next? {
            Next::Message(_) => Ok(Step::Again),
            Next::Parts => Ok(Step::Parts),
            // All data that a process wrote before its exit is readable by now, so finding nothing means end of
            // file, unless its endpoint has left it.
            Next::Nothing if exited != Some(self.peer_changes.load(Relaxed)) => Ok(Step::Nothing(receiving)),
            Next::Nothing | Next::End => {
                let is_partial = receiving.buffer.has_partial();
                receiving.buffer.give_up();
                drop(receiving);
                Err(self.error_at_end_of_file(is_partial, patience))
            }
        }
    }

    /// Ends the channel if more messages wait in memory than its limits allow.
    pub(in crate::channel) fn check_queued(&self, receiving: &mut Receiving) -> Result<()> {
        receiving.buffer.check_queued(receiving.calls.kept()).map_err(|broken| {
            receiving.buffer.give_up();
            let error = self.protocol_error(broken);
            // A call that may keep no more messages doesn't wait for the socket.
            self.notify(receiving);
            error
        })
    }

    /// Returns whether [`receive`](Self::receive) returns a message or an error now, without taking it.
    pub(crate) fn has_next(&self) -> bool {
        let mut receiving = self.receiving.lock();
        // A thread that waits for the socket isn't told of what is left in the buffer, so it must stay in the socket.
        if self.check_open().is_err() || receiving.waiting > 0 || receiving.calls.has_message() {
            return true;
        }
        let is_ready = loop {
            if receiving.buffer.has_message() {
                break true;
            }
            match self.read(&mut receiving) {
                Ok(Read::Packet) => {}
                Ok(Read::Nothing) => break self.has_other_exited(),
                Ok(Read::End) | Err(_) => break true,
            }
        };
        // The socket shows no more that these bytes have arrived.
        receiving.tasks.wake_all();
        self.publish(&mut receiving).is_err() || is_ready
    }

    /// Reads what has arrived until a message is complete. A peer that goes on sending parts of one doesn't keep the thread
    /// here.
    fn next(&self, receiving: &mut Receiving) -> Result<Next> {
        let mut packets = 0;
        loop {
            if let Some(arrived) = self.next_message(receiving)? {
                match arrived.envelope.frame_type {
                    FrameType::Greeting(greeting) => self.greeted(receiving, greeting),
                    _ => return Ok(Next::Message(arrived)),
                }
                continue;
            }
            if packets == MAX_PACKETS {
                return Ok(Next::Parts);
            }
            match self.read(receiving)? {
                Read::Packet => packets += 1,
                Read::Nothing => return Ok(Next::Nothing),
                Read::End => return Ok(Next::End),
            }
        }
    }

    pub(super) fn next_message(&self, receiving: &mut Receiving) -> Result<Option<Arrived>> {
        receiving.buffer.next_message().map_err(|broken| {
            receiving.buffer.give_up();
            self.protocol_error(broken)
        })
    }

    fn error_at_end_of_file(&self, is_partial: bool, patience: Duration) -> Error {
        // A process that exits in the middle of a message breaks no rule. Neither does one whose send timed out and
        // that exits because of it; its exit takes a moment.
        let exits = |process: &Process| process.is_going() || process.ends_within(patience).unwrap_or(false);
        if is_partial && self.check_open().is_ok() && !self.process().as_ref().is_none_or(exits) {
            return self.protocol_error("the last message is cut off");
        }
        self.disconnect_error()
    }

    /// Returns the error for a message whose objects are lost.
    pub(in crate::channel) fn lost(&self, _: Lost) -> Error {
        let context = format!(
            "a message from {}, whose objects found no free descriptor, so it is lost (close descriptors, or raise \
             RLIMIT_NOFILE)",
            ProcessName(self.process_id())
        );
        let source = std::io::Error::from_raw_os_error(libc::EMFILE);
        Error::System { call: "recvmsg", context, source }
    }

    /// Returns whether the next packet in the socket is the next that this thread has to look at: nothing was read that it
    /// has to look at before, and no other thread reads or waits for the socket.
    #[inline]
    fn is_next_in_socket(receiving: &Receiving, want: Want) -> bool {
        let calls = &receiving.calls;
        receiving.buffer.is_empty()
            && receiving.waiting == 0
            && !calls.reads
            && !calls.has(want)
            && (want == Want::Message || !calls.are_full())
    }

    /// Returns whether a thread for which [`is_next_in_socket`](Self::is_next_in_socket) holds may
    /// [wait for a packet](Self::begin_wait_for_packet): it isn't told by [`Readiness`](super::readiness::Readiness), and its timeout
    /// is longer than that wait.
    #[inline]
    fn may_block(&self, want: Want, timeout: Duration) -> bool {
        timeout >= 2 * ALONE && !(want == Want::Message && self.readiness.get().is_some())
    }

    /// Begins to wait for a short time until a packet has arrived, in the call that reads it. This is one system call less than
    /// a wait before the read. The exit of the peer process doesn't end it, if another process still has the peer's endpoint.
    ///
    /// Meanwhile no other thread may read, as beside a call that reads.
    #[inline]
    fn begin_wait_for_packet(&self, receiving: &mut Receiving) -> Result<()> {
        if !receiving.has_timeout {
            unix_socket::set_receive_timeout(self.socket.as_fd(), Some(ALONE)).map_err(self.failed())?;
            receiving.has_timeout = true;
        }
        receiving.waiting += 1;
        receiving.waits_for_packet = true;
        receiving.calls.reads = true;
        Ok(())
    }

    /// Ends this wait.
    #[inline]
    fn end_wait_for_packet(&self) -> MutexGuard<'_, Receiving> {
        let mut receiving = self.receiving.lock();
        receiving.waiting -= 1;
        receiving.waits_for_packet = false;
        receiving.calls.reads = false;
        receiving
    }

    /// Ends a read that began when the buffer was empty. Returns the message if it is the one that this thread wants.
    /// Otherwise, what was read is in the buffer.
    #[inline]
    fn end_read_of_first(
        &self,
        receiving: &mut Receiving,
        room: Room,
        received: SysResult<Option<Received>>,
        want: Want,
    ) -> Result<Packet> {
        match received {
            Ok(Some(received)) if received.length > 0 => {
                let is_wanted = |frame_type| want.is(frame_type);
                match receiving.buffer.end_read_of_first(room, received, is_wanted) {
                    Some(arrived) => Ok(Packet::Wanted(arrived)),
                    None => self.next_if_wanted(receiving, want),
                }
            }
            received => match self.end_read(receiving, room, received)? {
                Read::Nothing => Ok(Packet::Nothing),
                // The end of file shows again in the next read.
                Read::Packet | Read::End => Ok(Packet::Other),
            },
        }
    }

    /// Takes the first message out of the buffer, if it is the one that this thread wants.
    fn next_if_wanted(&self, receiving: &mut Receiving, want: Want) -> Result<Packet> {
        if !receiving.buffer.next_type().is_some_and(|frame_type| want.is(frame_type)) {
            return Ok(Packet::Other);
        }
        Ok(self.next_message(receiving)?.map_or(Packet::Other, Packet::Wanted))
    }

    /// Lets receives wait as long as those of a new socket. The next owner of the socket may be a program that expects it.
    pub(super) fn reset_receive_timeout(&self, receiving: &mut Receiving) -> Result<()> {
        if receiving.has_timeout {
            unix_socket::set_receive_timeout(self.socket.as_fd(), None).map_err(self.failed())?;
            receiving.has_timeout = false;
        }
        Ok(())
    }

    /// Reads the next packet into the buffer.
    #[inline(never)]
    pub(super) fn read(&self, receiving: &mut Receiving) -> Result<Read> {
        let mut room = receiving.buffer.begin_read();
        let received = self.receive_packet(&mut room, Look::Once);
        self.end_read(receiving, room, received)
    }

    /// Receives the next packet. It is inlined into its two callers, of which one is short for the sake of most messages.
    #[inline(always)]
    fn receive_packet(&self, room: &mut Room, look: Look) -> SysResult<Option<Received>> {
        let Room { message, lacking, packet, .. } = room;
        let received =
            unix_socket::receive_beside_inlined(self.socket.as_fd(), message, *lacking, packet, look);
        match &received {
            Err(error) if unix_socket::is_reset(error) => self.receive_packet_after_reset(error, room),
            _ => received,
        }
    }

    /// The kernel reports first, and once, that the peer has closed its endpoint with unread data. The packets that the peer
    /// sent before can still be received.
    #[cold]
    fn receive_packet_after_reset(&self, error: &SysError, room: &mut Room) -> SysResult<Option<Received>> {
        self.note_reset(error);
        let Room { message, lacking, packet, .. } = room;
        unix_socket::receive_beside(self.socket.as_fd(), message, *lacking, packet, Look::Once)
    }

    /// Puts what was received into the buffer.
    fn end_read(
        &self,
        receiving: &mut Receiving,
        room: Room,
        received: SysResult<Option<Received>>,
    ) -> Result<Read> {
        let (received, read) = match received {
            Ok(Some(received)) if received.length > 0 => (Some(received), Ok(Read::Packet)),
            Ok(Some(received)) => match unix_socket::has_ended(self.socket.as_fd()) {
                Ok(true) => (None, Ok(Read::End)),
                // An empty packet, which breaks the protocol.
                Ok(false) => (Some(received), Ok(Read::Packet)),
                Err(source) => (None, Err(self.failed()(source))),
            },
            Ok(None) => (None, Ok(Read::Nothing)),
            Err(error) if unix_socket::is_end(&error) => (None, Ok(Read::End)),
            Err(source) => (None, Err(self.failed()(source))),
        };
        receiving.buffer.end_read(room, received);
        read
    }
}
