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
use crate::sys::SysResult;
use crate::sys::mutex::MutexGuard;
use crate::sys::unix_socket::{self, Look, Received};
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
    /// Receives the next message, or the reply to a call. Returns `None` at the deadline. `left` is the time until then: the
    /// caller knows it, so the clock isn't read again.
    pub(in crate::channel) fn receive(
        &self,
        want: Want,
        deadline: Deadline,
        left: Duration,
    ) -> Result<Option<Arrived>> {
        self.settle();
        let receiving = self.receiving.lock();
        // A read that finds nothing costs as much as one that finds a message.
        if receiving.had_to_wait && self.may_block(&receiving, want, left) {
            self.check_open()?;
            if let Some(arrived) = self.wait_for_packet(receiving, want)? {
                return Ok(Some(arrived));
            }
        } else {
            drop(receiving);
        }
        self.receive_in_steps(want, deadline)
    }

    /// Does the same. It watches the peer process too, and lets other threads and tasks read.
    fn receive_in_steps(&self, want: Want, deadline: Deadline) -> Result<Option<Arrived>> {
        let (mut has_exited, mut peer) = (false, 0);
        let mut is_first = true;
        loop {
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
            let step = self.step(receiving, want, has_exited.then_some(peer), EXIT_TIME)?;
            receiving = match step {
                Step::Arrived(arrived) => return Ok(Some(arrived)),
                Step::Parts if deadline.has_passed() => return Ok(None),
                // Other threads get their turn.
                Step::Parts | Step::Again => continue,
                Step::Nothing(receiving) => receiving,
            };
            receiving.had_to_wait = true;
            peer = self.peer_changes.load(Relaxed);
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
        let (kept, buffer) = (receiving.calls.kept(), &mut receiving.buffer);
        buffer.check_queued(kept).map_err(|broken| {
            buffer.give_up();
            self.protocol_error(broken)
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

    /// Returns whether [`wait_for_packet`](Self::wait_for_packet) may be called: nothing was read that this thread has to
    /// look at, no other thread reads, waits for the socket or is told by [`Readiness`](super::readiness::Readiness), and the
    /// deadline is later than that wait can end.
    fn may_block(&self, receiving: &Receiving, want: Want, left: Duration) -> bool {
        let (is_message, calls) = (want == Want::Message, &receiving.calls);
        receiving.buffer.is_empty()
            && receiving.waiting == 0
            && !calls.reads
            && !calls.has(want)
            && (is_message || !calls.are_full())
            && !(is_message && self.readiness.get().is_some())
            && left >= 2 * ALONE
    }

    /// Waits for a short time until a packet has arrived, and reads it. This is one system call less than a wait before the
    /// read. The exit of the peer process doesn't end it, if another process still has the peer's endpoint.
    ///
    /// Meanwhile no other thread may read, as beside a call that reads.
    ///
    /// Returns the message if it is the one that this thread wants. Otherwise, what was read is in the buffer.
    #[inline]
    fn wait_for_packet(
        &self,
        mut receiving: MutexGuard<'_, Receiving>,
        want: Want,
    ) -> Result<Option<Arrived>> {
        if !receiving.has_timeout {
            unix_socket::set_receive_timeout(self.socket.as_fd(), Some(ALONE)).map_err(self.failed())?;
            receiving.has_timeout = true;
        }
        let mut room = receiving.buffer.begin_read();
        receiving.waiting += 1;
        receiving.waits_for_packet = true;
        receiving.calls.reads = true;
        drop(receiving);
        let received = self.receive_packet(&mut room, Look::Wait);
        let mut receiving = self.receiving.lock();
        receiving.waiting -= 1;
        receiving.waits_for_packet = false;
        receiving.calls.reads = false;
        let arrived = match received {
            Ok(Some(received)) if received.length > 0 => {
                let arrived = receiving
                    .buffer
                    .end_read_of_first(room, Some(received), |frame_type| want.is(frame_type));
                Ok(arrived)
            }
            // The end of file shows again in the next read.
            received => self.end_read(&mut receiving, room, received).map(|_| None),
        };
        // This thread may take what it waits for, and go.
        self.notify(&receiving);
        let arrived = match arrived? {
            None if receiving.buffer.next_type().is_some_and(|frame_type| want.is(frame_type)) => {
                self.next_message(&mut receiving)?
            }
            arrived => arrived,
        };
        self.publish(&mut receiving)?;
        Ok(arrived)
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
    pub(super) fn read(&self, receiving: &mut Receiving) -> Result<Read> {
        let mut room = receiving.buffer.begin_read();
        let received = self.receive_packet(&mut room, Look::Once);
        self.end_read(receiving, room, received)
    }

    /// Receives the next packet.
    fn receive_packet(&self, room: &mut Room, look: Look) -> SysResult<Option<Received>> {
        let Room { message, lacking, packet, .. } = room;
        let mut receive =
            |look| unix_socket::receive_beside(self.socket.as_fd(), message, *lacking, packet, look);
        match receive(look) {
            // The kernel reports first, and once, that the peer has closed its endpoint with unread data. The packets
            // that the peer sent before can still be received.
            Err(error) if unix_socket::is_reset(&error) => {
                self.note_reset(&error);
                receive(Look::Once)
            }
            received => received,
        }
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
