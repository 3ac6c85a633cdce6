//! Calls that wait for their replies, and the messages that arrive meanwhile.
//!
//! At most one thread that waits for a reply reads from the connection. It gives replies to the calls that they belong to,
//! and keeps messages for the next receive. While it reads, all other threads that wait are told by a [`Signal`].

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Condvar, PoisonError};
use std::time::Duration;

use super::imp::{Endpoint, Receiving};
use super::message::Arrived;
use super::wire::{FrameType, MAX_FRAME, MAX_OBJECTS};
use crate::error::Result;
use crate::sys::mutex::MutexGuard;
use crate::wait::Deadline;

/// The maximum number of messages with objects that are kept while a call waits.
const MAX_WITH_OBJECTS: usize = 64;

/// The calls of one endpoint, and the messages that were read while they waited.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Whether a thread that waits for a reply reads. No other thread may read then.
    pub(super) reads: bool,
    /// The number of threads that wait for the [`Signal`].
    pub(super) followers: u32,
    /// Most channels make no calls, so this is created by the first one.
    state: Option<Box<CallState>>,
}

#[derive(Debug, Default)]
struct CallState {
    /// The id of the next call. The first is random, so that no call takes a reply to one of the process that
    /// had the endpoint before.
    next_id: Option<u64>,
    /// The calls that wait, with their replies.
    waiting: Vec<(u64, Option<Arrived>)>,
    /// Messages that were read while a call waited, in their order.
    kept: VecDeque<Arrived>,
    kept_bytes: usize,
    kept_with_objects: usize,
    kept_objects: usize,
}

/// The message that a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The next message.
    Message,
    /// The reply to the call with this id.
    Reply(u64),
}

impl Want {
    /// Returns whether a thread that waits for this receives a message of this type itself.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) fn is(self, frame_type: FrameType) -> bool {
        match frame_type {
            FrameType::Message | FrameType::Call(_) => self == Self::Message,
            FrameType::Reply(id) => self == Self::Reply(id),
            FrameType::Greeting(_) => false,
        }
    }
}

/// The outcome of giving a message to the thread that it is for.
#[derive(Debug)]
pub(super) enum Dispatched {
    /// It is the one that the thread waits for.
    Mine(Arrived),
    /// It is kept for another thread.
    Kept,
    /// Its call has ended. It is to be dropped when nothing is locked.
    Late(#[allow(dead_code, reason = "it is only dropped")] Arrived),
}

/// Whether a thread may read now.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// It may.
    Mine(MutexGuard<'a, Receiving>),
    /// It has waited, and looks again.
    Again,
    TimedOut,
}

/// The time after which a call that may keep no more messages looks again whether it may, and whether the peer has exited.
const UNTIL_ROOM: Duration = Duration::from_millis(20);

impl Calls {
    /// Begins a call, and returns its id.
    pub(super) fn begin(&mut self) -> u64 {
        let state = self.state.get_or_insert_default();
        let id = state.next_id.unwrap_or_else(|| RandomState::new().hash_one(()));
        state.next_id = Some(id.wrapping_add(1));
        state.waiting.push((id, None));
        id
    }

    /// Ends a call. Returns its reply, if it has one that wasn't taken.
    pub(super) fn end(&mut self, id: u64) -> Option<Arrived> {
        let waiting = &mut self.state.as_mut()?.waiting;
        let index = waiting.iter().position(|(other, _)| *other == id)?;
        waiting.swap_remove(index).1
    }

    fn take(&mut self, want: Want) -> Option<Arrived> {
        let state = self.state.as_mut()?;
        match want {
            Want::Message => {
                let arrived = state.kept.pop_front()?;
                state.kept_bytes -= arrived.content.size();
                state.kept_with_objects -= usize::from(arrived.objects() > 0);
                state.kept_objects -= arrived.objects();
                Some(arrived)
            }
            Want::Reply(id) => {
                state.waiting.iter_mut().find(|(other, _)| *other == id).and_then(|(_, reply)| reply.take())
            }
        }
    }

    /// Gives a message that a thread has read to the thread that it is for.
    pub(super) fn dispatch(&mut self, arrived: Arrived, want: Want) -> Dispatched {
        match (arrived.envelope.frame_type, want) {
            (FrameType::Reply(id), Want::Reply(wanted)) if id == wanted => Dispatched::Mine(arrived),
            (FrameType::Reply(id), _) => {
                let mut waiting = self.state.iter_mut().flat_map(|state| &mut state.waiting);
                match waiting.find(|(other, reply)| *other == id && reply.is_none()) {
                    Some((_, reply)) => {
                        *reply = Some(arrived);
                        Dispatched::Kept
                    }
                    None => Dispatched::Late(arrived),
                }
            }
            (_, Want::Message) => Dispatched::Mine(arrived),
            (_, Want::Reply(_)) => {
                self.keep(arrived);
                Dispatched::Kept
            }
        }
    }

    /// Returns whether [`take`](Self::take) returns something.
    pub(super) fn has(&self, want: Want) -> bool {
        let Some(state) = &self.state else { return false };
        match want {
            Want::Message => !state.kept.is_empty(),
            Want::Reply(id) => state.waiting.iter().any(|(other, reply)| *other == id && reply.is_some()),
        }
    }

    /// Returns whether a message is kept for the next receive.
    pub(super) fn has_message(&self) -> bool {
        self.has(Want::Message)
    }

    /// Keeps a message for the next receive.
    pub(super) fn keep(&mut self, arrived: Arrived) {
        let state = self.state.get_or_insert_default();
        state.kept_bytes += arrived.content.size();
        state.kept_with_objects += usize::from(arrived.objects() > 0);
        state.kept_objects += arrived.objects();
        state.kept.push_back(arrived);
    }

    /// Returns the number of messages that are kept.
    pub(super) fn kept(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.kept.len())
    }

    /// Returns whether no more messages may be kept.
    pub(super) fn are_full(&self) -> bool {
        self.state.as_ref().is_some_and(|state| {
            state.kept_bytes >= MAX_FRAME
                || state.kept_with_objects >= MAX_WITH_OBJECTS
                || state.kept_objects >= MAX_OBJECTS
        })
    }

    /// Removes all messages, which can't be received any more. They are to be dropped when nothing is locked.
    pub(super) fn give_up(&mut self) -> VecDeque<Arrived> {
        let Some(state) = &mut self.state else { return VecDeque::new() };
        (state.kept_bytes, state.kept_with_objects, state.kept_objects) = (0, 0, 0);
        std::mem::take(&mut state.kept)
    }
}

/// A call that waits for its reply, until it is dropped.
#[derive(Debug)]
pub(crate) struct PendingCall<'a> {
    endpoint: &'a Endpoint,
    pub(crate) id: u64,
}

impl Endpoint {
    pub(crate) fn begin_call(&self) -> PendingCall<'_> {
        PendingCall { endpoint: self, id: self.receiving.lock().calls.begin() }
    }

    /// Takes what a thread or a task waits for, if it was read already.
    pub(super) fn take_read(&self, receiving: &mut Receiving, want: Want) -> Option<Arrived> {
        if !receiving.calls.has(want) {
            return None;
        }
        let was_full = receiving.calls.are_full();
        let arrived = receiving.calls.take(want)?;
        if was_full {
            // Calls that waited for room may read on.
            self.notify(receiving);
        }
        Some(arrived)
    }

    /// Waits for another thread that reads, or for room to keep messages, if this thread may not read now.
    pub(super) fn take_turn<'a>(
        &self,
        receiving: MutexGuard<'a, Receiving>,
        want: Want,
        deadline: Deadline,
    ) -> Result<Turn<'a>> {
        let is_full = want != Want::Message && receiving.calls.are_full();
        if Self::has_reader(&receiving, want) {
            self.follow(receiving, deadline);
        } else if is_full {
            self.follow(receiving, deadline.or_sooner(UNTIL_ROOM));
            if self.has_other_exited() {
                return Err(self.disconnect_error());
            }
        } else {
            return Ok(Turn::Mine(receiving));
        }
        let is_late = deadline.has_passed() && !self.receiving.lock().calls.has(want);
        Ok(if is_late { Turn::TimedOut } else { Turn::Again })
    }

    /// Returns whether a thread has to let another one read. A thread that waits for the connection is told of what others
    /// read only by what they leave there. So beside a call that reads, no thread may read; and no call may begin to read
    /// beside another thread.
    pub(super) fn has_reader(receiving: &Receiving, want: Want) -> bool {
        receiving.calls.reads || (want != Want::Message && receiving.waiting > 0)
    }

    /// Waits until another thread has read something, or has stopped reading.
    fn follow(&self, mut receiving: MutexGuard<'_, Receiving>, deadline: Deadline) {
        let seen = self.signal.now();
        receiving.calls.followers += 1;
        drop(receiving);
        self.signal.wait(seen, deadline);
        self.receiving.lock().calls.followers -= 1;
    }

    /// Gives a message that this thread has read to the thread that it is for.
    pub(super) fn dispatch(
        &self,
        receiving: &mut Receiving,
        arrived: Arrived,
        want: Want,
    ) -> Result<Dispatched> {
        let frame_type = arrived.envelope.frame_type;
        let dispatched = receiving.calls.dispatch(arrived, want);
        if matches!(dispatched, Dispatched::Kept) {
            self.check_queued(receiving)?;
            self.notify_threads(receiving);
            receiving.tasks.wake_for(frame_type);
        }
        Ok(dispatched)
    }

    /// Wakes the threads that follow another one, and the tasks.
    pub(super) fn notify(&self, receiving: &Receiving) {
        self.notify_threads(receiving);
        receiving.tasks.wake_all();
    }

    fn notify_threads(&self, receiving: &Receiving) {
        if receiving.calls.followers > 0 {
            self.signal.notify();
        }
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        let reply = self.endpoint.receiving.lock().calls.end(self.id);
        // Its objects are closed when nothing is locked.
        drop(reply);
    }
}

/// Tells threads that something has changed which another thread has read.
#[derive(Debug, Default)]
pub(super) struct Signal {
    /// The number of changes.
    gate: std::sync::Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// Returns the number of changes so far. A thread asks for it with the lock under which it found nothing.
    pub(super) fn now(&self) -> u64 {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all threads that wait.
    pub(super) fn notify(&self) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits for a change after `seen`, or until the deadline.
    pub(super) fn wait(&self, seen: u64, deadline: Deadline) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        while *gate == seen && !deadline.has_passed() {
            (gate, _) =
                self.changed.wait_timeout(gate, deadline.left()).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
