//! Receiving messages from an endpoint.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::endpoint::{Endpoint, Receiving};
use super::recv_buffer::Lost;
use crate::channel::calls::{Dispatched, Turn, Want};
use crate::channel::message::Arrived;
use crate::channel::wire::FrameType;
use crate::error::{Error, ProcessName, Result};
use crate::process::Process;
use crate::sys::mutex::MutexGuard;
use crate::sys::unix_socket::{self, Look};
use crate::wait::Deadline;

/// The maximum time between the moment at which a process that is exiting closes its endpoint and its exit.
const EXIT_TIME: Duration = Duration::from_millis(250);

/// The maximum number of reads in a row that bring less than they asked for.
const MAX_SHORT_READS: u32 = 2;

/// The outcome of one attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// As many bytes as were asked for, so more may be available.
    Enough,
    /// All available bytes.
    Some,
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
    /// Receives the next message, or the reply to a call. Returns `None` at the deadline.
    pub(in crate::channel) fn receive(&self, want: Want, deadline: Deadline) -> Result<Option<Arrived>> {
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
            // A read that finds nothing costs as much as one that finds a message.
            let waits_first =
                receiving.had_to_wait && receiving.buffer.unread().is_empty() && !deadline.has_passed();
            receiving.had_to_wait = !is_first;
            let step = match is_first && waits_first {
                true => Step::Nothing(receiving),
                false => self.step(receiving, want, has_exited.then_some(peer), EXIT_TIME, deadline)?,
            };
            is_first = false;
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
        deadline: Deadline,
    ) -> Result<Step<'a>> {
        let next = match self.next(&mut receiving, deadline) {
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
                let is_partial = !receiving.buffer.unread().is_empty();
                receiving.buffer.give_up();
                drop(receiving);
                Err(self.error_at_end_of_file(is_partial, patience))
            }
        }
    }

    /// Ends the channel if more messages wait in memory than its limits allow.
    pub(in crate::channel) fn check_queued(&self, receiving: &mut Receiving) -> Result<()> {
        let (kept, buffer) = (receiving.calls.kept(), &mut receiving.buffer);
        buffer.limits.check_queued::<()>(kept, buffer.unread()).map_err(|broken| {
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
                Ok(Read::Enough) => {}
                Ok(Read::Some | Read::Nothing) => {
                    break receiving.buffer.has_message() || self.has_other_exited();
                }
                Ok(Read::End) | Err(_) => break true,
            }
        };
        // The socket shows no more that these bytes have arrived.
        receiving.tasks.wake_all();
        self.publish(&mut receiving).is_err() || is_ready
    }

    /// Reads what has arrived until a message is complete. A peer that goes on sending parts of one doesn't keep the thread
    /// here.
    fn next(&self, receiving: &mut Receiving, deadline: Deadline) -> Result<Next> {
        let mut short_reads = 0;
        loop {
            if let Some(arrived) = self.next_message(receiving)? {
                match arrived.envelope.frame_type {
                    FrameType::Greeting(greeting) => self.greeted(receiving, greeting),
                    _ => return Ok(Next::Message(arrived)),
                }
                continue;
            }
            if short_reads == MAX_SHORT_READS || (short_reads > 0 && deadline.has_passed()) {
                return Ok(Next::Parts);
            }
            match self.read(receiving)? {
                Read::Enough => {}
                Read::Some => short_reads += 1,
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

    /// Reads what has arrived into the buffer.
    pub(super) fn read(&self, receiving: &mut Receiving) -> Result<Read> {
        let mut asked = 0;
        let read = receiving.buffer.read(receiving.waiting > 0, |buffer, max| {
            asked = max;
            unix_socket::receive(self.socket.as_fd(), buffer, max, Look::Once)
        });
        match read {
            Ok(Some(0)) => Ok(Read::End),
            Ok(Some(length)) if length == asked => Ok(Read::Enough),
            Ok(Some(_)) => Ok(Read::Some),
            Ok(None) => Ok(Read::Nothing),
            Err(error) if unix_socket::is_end(&error) => {
                self.note_reset(&error);
                Ok(Read::End)
            }
            Err(source) => Err(self.failed()(source)),
        }
    }
}
