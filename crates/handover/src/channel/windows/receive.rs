//! Receiving messages from an endpoint.

use std::os::windows::io::AsHandle;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, MAX_WRITTEN, Receiving, Woken};
use super::peer::Peer;
use crate::channel::Limits;
use crate::channel::calls::{Calls, Dispatched, Turn, Want};
use crate::channel::message::{Arrived, description};
use crate::channel::tasks::Tasks;
use crate::channel::wire::{self, Broken, Content, HandleRef, Header};
use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::mutex::MutexGuard;
use crate::sys::overlapped::{Begun, Transfer};
use crate::sys::owned_handle::spare_list;
use crate::sys::winsock::{Record, import};
use crate::sys::{SysError, SysResult, create_object, handle, pipe};
use crate::wait::Deadline;

/// The minimum and maximum number of bytes to read at once. Most messages are shorter than the minimum. The maximum is
/// what one call writes.
const MIN_READ: usize = 4 * 1024;
const MAX_READ: usize = MAX_WRITTEN;
/// The maximum capacity that an emptied buffer keeps.
const MAX_KEPT: usize = 64 * 1024;

/// The size of memory that a message of any length may have.
const SHORT: usize = 512;

/// The maximum number of reads in a row that bring less than they asked for. After them, other threads get their turn.
const MAX_SHORT_READS: u32 = 2;

/// The outcome of one attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// As many bytes as were asked for, so more may be available.
    Enough,
    /// All available bytes.
    Some,
    /// None yet. The read is pending.
    Pending,
    /// End of file: no process can write any more.
    End,
}

/// The outcome of a look for a message, which doesn't wait.
#[derive(Debug)]
pub(super) enum Found {
    /// A complete message is at the front of the buffer.
    Message(Header),
    /// A read is pending.
    Pending,
    /// Parts of a message have arrived, and more may be available.
    Parts,
    End,
}

/// The outcome of [`Endpoint::step`].
#[derive(Debug)]
pub(super) enum Step<'a> {
    Arrived(Arrived),
    /// A message was given to another thread or task, or its call has ended.
    Again,
    /// Parts of a message have arrived. A peer that sends single bytes must not extend a wait past its deadline.
    Parts,
    /// The read is pending.
    Nothing(MutexGuard<'a, Receiving>),
}

/// The reason why a message couldn't be taken. Some reasons become an [`Error`] only after a wait, so that happens when no
/// lock is held.
#[derive(Debug)]
pub(crate) enum Untaken {
    Failed(Error),
    /// The sender has withdrawn the message's objects.
    Withdrawn,
    /// The weaker process has no such handle, or doesn't let this process duplicate it.
    NotFetched(HandleValue, SysError),
}

impl From<Error> for Untaken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The maximum time that a receive waits until it knows the process which the other endpoint has just moved to, and the pause
/// between two looks.
const MAX_MOVE: Duration = Duration::from_secs(10);
const MOVE_PAUSE: Duration = Duration::from_millis(1);

impl Endpoint {
    /// Receives the next message, or the reply to a call. Returns `None` at the deadline.
    pub(in crate::channel) fn receive(&self, want: Want, timeout: Duration) -> Result<Option<Arrived>> {
        let deadline = Deadline::after(timeout);
        let is_call = want != Want::Message;
        let (mut has_waited, mut has_exited) = (false, false);
        loop {
            let mut receiving = self.receiving.lock();
            self.check_open()?;
            if let Some(arrived) = self.take_read(&mut receiving, want) {
                self.publish(&mut receiving);
                return Ok(Some(arrived));
            }
            let receiving = match self.take_turn(receiving, want, deadline)? {
                Turn::Mine(receiving) => receiving,
                Turn::Again => continue,
                Turn::TimedOut => return Ok(None),
            };
            let is_late = || has_waited && deadline.has_passed();
            let mut receiving = match self.step(receiving, want, has_exited)? {
                Step::Arrived(arrived) => return Ok(Some(arrived)),
                Step::Again => continue,
                Step::Parts | Step::Nothing(_) if is_late() => return Ok(None),
                Step::Parts => {
                    has_waited = true;
                    continue;
                }
                Step::Nothing(receiving) => receiving,
            };
            let mut event = None;
            if is_call && receiving.calls.has_message() {
                // `ready` stays set for the messages that are kept.
                event = self.read_for_call(&mut receiving)?;
                if event.is_none() {
                    continue;
                }
            } else {
                receiving.waiting += 1;
            }
            receiving.calls.reads |= is_call;
            drop(receiving);
            let woken = self.wait_to_receive(event.as_deref().unwrap_or(&self.ready), deadline);
            let mut receiving = self.receiving.lock();
            receiving.waiting -= usize::from(event.is_none());
            if is_call {
                receiving.calls.reads = false;
            }
            // This thread may take what it waits for, and go.
            self.notify(&receiving);
            drop(receiving);
            match woken.map_err(self.failed())? {
                Woken::TimedOut => return Ok(None),
                woken => has_exited = woken == Woken::Exited,
            }
            has_waited = true;
        }
    }

    /// Looks for a message, without waiting, and gives it to the thread or the task that it is for. `has_exited` says that the peer
    /// process was seen to have exited.
    pub(super) fn step<'a>(
        &self,
        mut receiving: MutexGuard<'a, Receiving>,
        want: Want,
        has_exited: bool,
    ) -> Result<Step<'a>> {
        match self.look(&mut receiving, has_exited) {
            Ok(Found::Message(header)) => {
                let dispatched = self
                    .take_message(&mut receiving, &header)
                    .and_then(|arrived| self.dispatch(&mut receiving, arrived, want));
                self.publish(&mut receiving);
                drop(receiving);
                Ok(match dispatched? {
                    Dispatched::Mine(arrived) => Step::Arrived(arrived),
                    Dispatched::Kept | Dispatched::Late(_) => Step::Again,
                })
            }
            Ok(Found::Pending) => Ok(Step::Nothing(receiving)),
            Ok(Found::Parts) => {
                self.publish(&mut receiving);
                Ok(Step::Parts)
            }
            Ok(Found::End) => {
                let is_partial = !receiving.unread().is_empty() && !self.incoming().giving_has_ended();
                self.publish(&mut receiving);
                drop(receiving);
                if is_partial && !self.other_process().is_none_or(|process| process.is_going()) {
                    return Err(self.shown(self.protocol_error("the last message is cut off")));
                }
                Err(self.disconnect_error())
            }
            Err(error) => {
                self.publish(&mut receiving);
                Err(error)
            }
        }
    }

    /// Ends the channel if more messages wait in memory than its limits allow.
    pub(in crate::channel) fn check_queued(&self, receiving: &mut Receiving) -> Result<()> {
        let (kept, limits) = (receiving.calls.kept(), receiving.limits);
        if receiving.transfer.is_under_way() {
            return Ok(());
        }
        limits.check_queued::<HandleRef>(kept, receiving.unread()).map_err(|broken| {
            let error = self.protocol_error(broken);
            self.publish(receiving);
            // A call that may keep no more messages doesn't wait for `ready`.
            self.notify(receiving);
            error
        })
    }

    /// Begins a read whose end only this thread is told of. Returns `None` if there is something to look at already.
    pub(super) fn read_for_call(&self, receiving: &mut Receiving) -> Result<Option<Arc<Owned>>> {
        if receiving.transfer.is_under_way() {
            match receiving.transfer.cancel() {
                Err(error) if pipe::is_cancelled(&error) => {}
                outcome => return self.note(receiving, outcome).map(|_| None),
            }
        }
        let event = match &receiving.call_event {
            Some(event) => Arc::clone(event),
            None => Arc::new(create_object::event(true).map_err(self.failed())?),
        };
        receiving.call_event = Some(Arc::clone(&event));
        receiving.transfer.set_done(&event);
        let outcome = match receiving.begin(true) {
            Ok(Begun::UnderWay) => return Ok(Some(event)),
            Ok(Begun::Done) => receiving.transfer.finish(),
            Err(error) => Err(error),
        };
        self.note(receiving, outcome).map(|_| None)
    }

    /// Makes other threads see an error that was found without the lock, because it may end the channel.
    fn shown(&self, error: Error) -> Error {
        self.publish(&mut self.receiving.lock());
        error
    }

    /// Waits until there is something to receive. Meanwhile it closes duplicates that the peer has fetched, so a worker
    /// that waits for its next task doesn't keep the objects of the last one alive.
    fn wait_to_receive(&self, event: &Owned, deadline: Deadline) -> SysResult<Woken> {
        // The event comes first. If the peer changes after that, the event tells it.
        let changed = self.changed();
        let process = self.other_process();
        loop {
            self.close_fetched();
            let carrier = self.carrier_to_watch();
            let objects = [
                // First, because `ready` stays set after the exit.
                (process.as_ref().map(AsHandle::as_handle), Woken::Exited),
                (Some(event.as_handle()), Woken::Read),
                (changed.as_ref().map(|changed| changed.as_handle()), Woken::Read),
                (self.fetched(), Woken::Fetched),
                (carrier.as_ref().map(|carrier| carrier.fetched.as_handle()), Woken::Carried),
            ];
            match self.wait_for(objects, deadline)? {
                Woken::Fetched | Woken::Carried if deadline.has_passed() => return Ok(Woken::TimedOut),
                Woken::Fetched | Woken::Carried => {}
                Woken::Exited if !process.as_ref().is_some_and(|process| self.counts(process)) => {
                    return Ok(Woken::Read);
                }
                woken => return Ok(woken),
            }
        }
    }

    /// Returns whether the peer process has exited, and still had its endpoint then.
    pub(in crate::channel) fn has_other_exited(&self) -> bool {
        self.other_process()
            .is_some_and(|process| process.has_exited().unwrap_or(true) && self.counts(&process))
    }

    /// Returns whether [`receive`](Self::receive) returns a message or an error now, without taking it.
    pub(crate) fn has_next(&self) -> bool {
        let has_exited = self.has_other_exited();
        let mut receiving = self.receiving.lock();
        if self.is_over() || receiving.calls.has_message() {
            return true;
        }
        let found = self.look(&mut receiving, has_exited);
        self.publish(&mut receiving);
        !matches!(found, Ok(Found::Pending | Found::Parts))
    }

    /// Tells the threads that wait, and other code that watches `ready`, whether there is something to receive.
    pub(super) fn publish(&self, receiving: &mut Receiving) {
        let is_over = self.is_over();
        if receiving.is_awaited && (is_over || !receiving.is_full()) {
            receiving.is_awaited = false;
            if let Some(beside) = &receiving.beside {
                create_object::show(beside.as_handle(), true);
            }
        }
        if !receiving.is_watched && receiving.waiting == 0 {
            return;
        }
        let is_reading = receiving.transfer.is_under_way();
        let is_ready = is_over
            || receiving.has_exited
            || self.is_exit_seen()
            || receiving.calls.has_message()
            // A read of a call goes on with another event once no message is kept.
            || if is_reading && (!receiving.is_beside || receiving.beside.is_some()) {
                // A read beside a message says nothing about that message.
                receiving.is_beside
            } else {
                // An error is reported by the next receive, which tries again.
                !matches!(self.fill(receiving), Ok(Found::Pending))
            };
        if is_ready {
            self.set_ready(receiving);
        }
    }

    fn set_ready(&self, receiving: &mut Receiving) {
        let may_be_reset = receiving.transfer.is_under_way() && !receiving.is_beside;
        if may_be_reset || !receiving.is_set {
            create_object::show(self.ready.as_handle(), true);
            receiving.is_set = true;
        }
    }

    /// Reads what has arrived until a message is complete. If the peer process has exited, everything that it wrote is
    /// readable by now, so finding nothing means end of file.
    pub(super) fn look(&self, receiving: &mut Receiving, has_exited: bool) -> Result<Found> {
        loop {
            match self.fill(receiving)? {
                Found::Pending if has_exited => {
                    receiving.has_exited = true;
                    let outcome = receiving.transfer.cancel();
                    receiving.is_set = true;
                    match outcome {
                        Err(error) if pipe::is_cancelled(&error) => return Ok(Found::End),
                        outcome => {
                            if self.note(receiving, outcome)? == Read::End {
                                return Ok(Found::End);
                            }
                        }
                    }
                }
                found => return Ok(found),
            }
        }
    }

    /// Reads what has arrived until a message is complete or a read is pending.
    pub(super) fn fill(&self, receiving: &mut Receiving) -> Result<Found> {
        if receiving.transfer.is_under_way() && receiving.is_beside {
            // The buffer has a message. The read can't go on while it is taken. An error shows up again in the next read.
            let _ = receiving.transfer.cancel();
        }
        let mut short_reads = 0;
        loop {
            if !receiving.transfer.is_under_way() {
                if let Some(header) = self.complete_message(receiving)? {
                    return Ok(Found::Message(header));
                }
                if short_reads == MAX_SHORT_READS {
                    return Ok(Found::Parts);
                }
            }
            match self.read(receiving)? {
                Read::Enough => {}
                Read::Some => short_reads += 1,
                Read::Pending => return Ok(Found::Pending),
                Read::End => return Ok(Found::End),
            }
        }
    }

    /// Reads into the end of the buffer, without waiting: finishes the pending read, or begins one.
    fn read(&self, receiving: &mut Receiving) -> Result<Read> {
        let outcome = if receiving.transfer.is_under_way() {
            let mut outcome = receiving.transfer.try_finish();
            if outcome.is_none() && self.take_stale() {
                create_object::show(self.ready.as_handle(), false);
                outcome = receiving.transfer.try_finish();
                if outcome.is_some() {
                    create_object::show(self.ready.as_handle(), true);
                }
            }
            let Some(outcome) = outcome else { return Ok(Read::Pending) };
            receiving.is_set = true;
            outcome
        } else {
            receiving.transfer.set_done(&self.ready);
            // It may be set after a read that was done at once, too. Another call to set it does no harm.
            receiving.is_set = false;
            match receiving.begin(false) {
                Ok(Begun::Done) => receiving.transfer.finish(),
                Ok(Begun::UnderWay) => {
                    // The beginning of the read has reset the event, which may have shown the exit.
                    if receiving.is_watched && (receiving.has_exited || self.is_exit_seen()) {
                        self.set_ready(receiving);
                    }
                    return Ok(Read::Pending);
                }
                Err(error) => Err(error),
            }
        };
        self.note(receiving, outcome)
    }

    /// Returns what a finished read has brought.
    fn note(&self, receiving: &Receiving, outcome: SysResult<usize>) -> Result<Read> {
        match outcome {
            Ok(length) if length == receiving.asked => Ok(Read::Enough),
            Ok(_) => Ok(Read::Some),
            Err(error) if pipe::is_end(&error) => Ok(Read::End),
            // The thread that began the read has exited.
            Err(error) if pipe::is_cancelled(&error) => Ok(Read::Some),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Returns the header of the message at the front of the buffer if it is complete.
    fn complete_message(&self, receiving: &mut Receiving) -> Result<Option<Header>> {
        let broken = |broken: Broken| self.protocol_error(broken);
        let limits = receiving.limits;
        let unread = receiving.unread();
        let header = limits.header::<HandleRef>(unread).map_err(broken)?;
        let Some(header) = header else { return Ok(None) };
        Ok((unread.len() >= header.frame_length()).then_some(header))
    }

    /// Takes the message at the front of the buffer, which is complete.
    pub(super) fn take_message(&self, receiving: &mut Receiving, header: &Header) -> Result<Arrived> {
        if header.envelope.number != receiving.next {
            return Err(self.protocol_error("a message is missing or out of order"));
        }
        let length = header.frame_length();
        let frame = &receiving.unread()[..length];
        let refs: Vec<HandleRef> =
            wire::parse(header, frame).map_err(|broken: Broken| self.protocol_error(broken))?;
        let records = records_in(wire::records(header, frame, &refs));
        let content = Content::new::<HandleRef>(header, receiving.take_front(length));
        receiving.next += 1;
        let objects = match refs.as_slice() {
            [] => Ok(Vec::new()),
            refs => self.take_objects(header.envelope.number, refs, &records, &content),
        };
        if let (Some(travel), false) = (&self.travel, refs.is_empty()) {
            self.page().note_received(1 - travel.side, receiving.next);
        }
        Ok(Arrived { envelope: header.envelope, content, objects, limits: receiving.limits })
    }

    /// Returns the error for a message whose objects are lost. It can wait a moment, so call it without a lock.
    pub(in crate::channel) fn lost(&self, untaken: Untaken) -> Error {
        self.shown(self.error_of(untaken))
    }

    fn error_of(&self, untaken: Untaken) -> Error {
        match (untaken, self.peer()) {
            (Untaken::Failed(error), _) => error,
            (Untaken::NotFetched(value, error), Peer::Weaker(process)) => {
                match process.not_fetched(value, error) {
                    Error::InvalidHandle { .. } => {
                        self.protocol_error("an object has a handle value that is not open")
                    }
                    other => other,
                }
            }
            _ => self.disconnect_error(),
        }
    }

    /// Makes this process the owner of all of a message's objects, or of none if it fails.
    fn take_objects(
        &self,
        number: u64,
        refs: &[HandleRef],
        records: &[Record],
        content: &Content,
    ) -> Result<Vec<Owned>, Untaken> {
        // The values are those of the process that the other endpoint moves to, so its role must be known.
        let deadline = Deadline::after(MAX_MOVE);
        let peer = loop {
            let is_left = self.current.lock().is_left_by_other;
            match self.peer() {
                Peer::Same(_) if is_left && deadline.has_passed() => return Err(Untaken::Withdrawn),
                Peer::Same(_) if is_left => std::thread::sleep(MOVE_PAUSE),
                peer => break peer,
            }
        };
        if let Peer::Equal(_) = &peer {
            let broken =
                "a message has objects, although neither process may duplicate handles into the other";
            return Err(self.protocol_error(broken).into());
        }
        // Even if the message was withdrawn, because no other process can close these sockets. A sender in this process does
        // that itself.
        let import = || self.import(&peer, refs, records, content);
        let before = (!matches!(peer, Peer::Same(_))).then(import);
        if !self.incoming().take(number) {
            return Err(Untaken::Withdrawn);
        }
        let sockets = before.unwrap_or_else(import);
        // Most threads receive the next message soon, so the memory of the list is kept for it.
        let mut objects = spare_list();
        objects.reserve(refs.len());
        match &peer {
            Peer::Weaker(process) => self.fetch(process, number, refs, &mut objects)?,
            _ => objects.extend(values_of(refs).map(handle::own)),
        }
        let sockets = sockets?;
        if sockets.is_empty() {
            return Ok(objects);
        }
        let (mut handles, mut sockets) = (objects.into_iter(), sockets.into_iter());
        let next = |object_ref: &HandleRef| match object_ref {
            HandleRef::Handle(_) => handles.next().expect("each value has a handle"),
            HandleRef::Socket => sockets.next().expect("each record has a socket"),
        };
        Ok(refs.iter().map(next).collect())
    }

    /// Makes this process the owner of all of a message's sockets, or of none if it fails.
    fn import(
        &self,
        peer: &Peer,
        refs: &[HandleRef],
        records: &[Record],
        content: &Content,
    ) -> Result<Vec<Owned>, Untaken> {
        let mut names = content.names().zip(refs).filter(|(_, object_ref)| **object_ref == HandleRef::Socket);
        let mut next_name = || names.next().map_or("", |(name, _)| name).to_owned();
        if let (Peer::Weaker(process), false) = (peer, records.is_empty() || self.allowed.has_named_sockets())
        {
            // A record is believed. An honest peer doesn't send one before this process has named sockets. If the process has
            // taken that back since, the socket is imported to be closed.
            let (pid, name, found) = (process.id(), next_name(), ObjectKind::Socket);
            return Err(Error::KindNotAllowed { pid, name, found }.into());
        }
        // After a failure the others are imported nevertheless, because no other process can close them.
        let sockets: Vec<Result<Owned, Untaken>> = records
            .iter()
            .map(|record| {
                let name = next_name();
                import(record).map_err(|error| {
                    // Only the owner of the socket can close it, so this process tries once more to become that.
                    drop(import(record));
                    Error::system(description(&name), error).into()
                })
            })
            .collect();
        sockets.into_iter().collect()
    }

    /// Duplicates a message's objects out of the weaker process, and adds them to the list. If it fails, the caller drops those
    /// that were added.
    fn fetch(
        &self,
        process: &Process,
        number: u64,
        refs: &[HandleRef],
        objects: &mut Vec<Owned>,
    ) -> Result<(), Untaken> {
        let fetched: Result<(), Untaken> = values_of(refs).try_for_each(|value| {
            let copy = handle::duplicate_from(process.as_handle(), value)
                .map_err(|error| Untaken::NotFetched(value, error))?;
            objects.push(copy);
            Ok(())
        });
        // This runs even after a failure: a failed fetch is never retried, so the peer can close its duplicates.
        self.page().set_fetched(number + 1);
        let event_set = create_object::set_event(self.outbox.fetched.as_handle());
        fetched?;
        event_set.map_err(self.failed())?;
        Ok(())
    }
}

/// Returns the handle values of a message, which are not its sockets.
fn values_of(refs: &[HandleRef]) -> impl Iterator<Item = HandleValue> {
    refs.iter().filter_map(|object_ref| match object_ref {
        HandleRef::Handle(value) => Some(*value),
        HandleRef::Socket => None,
    })
}

/// Copies a message, into the memory of a message that this thread has dropped if its size suits.
fn copied(message: &[u8]) -> Vec<u8> {
    let mut copy = wire::spare_frame();
    // A short message must not keep the memory of a long one.
    if copy.capacity() > SHORT.max(2 * message.len()) {
        copy = Vec::new();
    }
    copy.reserve_exact(message.len());
    copy.extend_from_slice(message);
    copy
}

/// Copies the records of a message's sockets.
fn records_in(bytes: &[u8]) -> Vec<Record> {
    let record = |bytes: &[u8]| {
        let bytes: [u8; Record::LENGTH] = bytes.try_into().expect("the records have this length");
        Record::from(bytes)
    };
    bytes.chunks_exact(Record::LENGTH).map(record).collect()
}

const _: () = assert!(Record::LENGTH == wire::RECORD_LENGTH);

impl Receiving {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self {
            transfer,
            received: 0,
            expected: 0,
            next: 0,
            asked: 0,
            is_beside: false,
            is_set: false,
            has_exited: false,
            waiting: 0,
            is_watched: false,
            is_awaited: false,
            beside: None,
            calls: Calls::default(),
            tasks: Tasks::default(),
            call_event: None,
            limits: Limits::default(),
        }
    }

    /// Returns the bytes that were read and not received yet.
    pub(super) fn unread(&mut self) -> &[u8] {
        &self.transfer.buffer()[self.received..]
    }

    /// Removes a message of `length` bytes from the front. Returns the buffer itself if that wastes little memory, and
    /// a copy otherwise.
    fn take_front(&mut self, length: usize) -> Vec<u8> {
        self.expected = length.min(MAX_READ);
        let (received, buffer) = (self.received, self.transfer.buffer());
        if received == 0 && length == buffer.len() && length >= buffer.capacity() / 2 {
            return std::mem::take(buffer);
        }
        let front = copied(&buffer[received..][..length]);
        self.received += length;
        // Moving only now and then keeps many small messages from being moved over and over.
        if self.received == buffer.len() || self.received > MAX_KEPT.max(buffer.len() / 2) {
            buffer.drain(..self.received);
            self.received = 0;
            // A large message must not leave a large buffer behind.
            buffer.shrink_to(MAX_KEPT);
        }
        front
    }

    /// Returns the number of bytes to read: as many as the message at the front lacks, if that is known. Otherwise as many
    /// as the last message had, because the next one often has the same length.
    fn read_size(&mut self) -> usize {
        let limits = self.limits;
        let unread = self.unread();
        let size = match limits.header::<HandleRef>(unread) {
            Ok(Some(header)) if header.frame_length() > unread.len() => header.frame_length() - unread.len(),
            _ => self.expected,
        };
        size.clamp(MIN_READ, MAX_READ)
    }

    /// Returns whether the buffer holds as much as a send may read ahead. A pending read shows that it doesn't.
    pub(super) fn is_full(&mut self) -> bool {
        !self.transfer.is_under_way() && self.unread().len() >= wire::MAX_FRAME
    }

    /// Begins a read.
    pub(super) fn begin(&mut self, is_beside: bool) -> SysResult<Begun> {
        self.is_beside = is_beside;
        self.asked = self.read_size();
        let (asked, buffer) = (self.asked, self.transfer.buffer());
        if asked > MAX_KEPT && buffer.capacity() == 0 {
            let large = wire::large_frame();
            // A message takes its memory with it, so it must not get much more than it needs.
            if (asked..=2 * asked).contains(&large.capacity()) {
                *buffer = large;
            } else {
                wire::recycle_large(large);
            }
        }
        self.transfer.read(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::overlapped::Pipe;

    /// Returns a buffer that holds these bytes, and which can't read more.
    fn reader_with(read: Vec<u8>) -> Receiving {
        let event = || Arc::new(create_object::event(true).expect("an event"));
        let mut reader = Receiving::new(Transfer::new(Arc::new(Pipe::new(event())), event()));
        *reader.transfer.buffer() = read;
        reader
    }

    fn with_capacity(bytes: &[u8], capacity: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(bytes);
        buffer
    }

    #[test]
    fn message_that_fills_the_buffer_is_not_copied() {
        // The capacity of the buffer, the length of the message before, and whether the rest is returned without a
        // copy.
        for (capacity, first, is_taken) in
            [(1000, 0, true), (2000, 0, true), (2100, 0, false), (1000, 400, false)]
        {
            let mut reader = reader_with(with_capacity(&[7; 1000], capacity));
            let read = reader.unread().as_ptr();
            if first > 0 {
                assert_eq!(reader.take_front(first), vec![7; first]);
            }
            let rest = reader.take_front(1000 - first);
            assert_eq!(rest, vec![7; 1000 - first]);
            assert_eq!(rest.as_ptr() == read, is_taken, "{capacity} {first}");
            assert!(reader.unread().is_empty() && reader.transfer.buffer().is_empty());
        }
    }

    #[test]
    fn message_is_copied_into_the_memory_of_a_dropped_one_if_its_size_suits() {
        // The capacity of the dropped message, the length of the copied one, and the capacity that this gets.
        for (dropped, length, capacity) in [
            (400, 300, 400),
            (512, 10, 512),
            (600, 300, 600),
            (700, 300, 300),
            (100, 300, 300),
            (60_000, 10, 10),
        ] {
            wire::recycle_frame(Vec::with_capacity(dropped));
            let message = vec![7; length];
            let copy = copied(&message);
            assert_eq!(copy, message);
            assert_eq!(copy.capacity(), capacity, "{dropped} {length}");
        }
        // The memory serves one message only.
        wire::recycle_frame(Vec::with_capacity(400));
        let both = [copied(&[7; 300]), copied(&[8; 300])];
        assert_eq!(both.map(|copy| copy.capacity()), [400, 300]);
    }

    #[test]
    fn large_read_gets_the_memory_of_a_dropped_message_if_its_size_suits() {
        // The capacities of the kept memory, and of the buffer for a message of 300,000 bytes.
        for (kept, capacity) in [(400_000, 400_000), (700_000, 300_000), (200_000, 300_000)] {
            drop(wire::large_frame());
            wire::recycle_large(Vec::with_capacity(kept));
            let mut reader = reader_with(Vec::new());
            reader.expected = 300_000;
            assert!(reader.begin(false).is_err(), "its handle is an event");
            assert_eq!(reader.transfer.buffer().capacity(), capacity);
            // Memory that doesn't suit is kept for another message.
            assert_eq!(wire::large_frame().capacity(), if capacity == kept { 0 } else { kept });
        }
    }

    #[test]
    fn received_bytes_are_moved_only_now_and_then() {
        let mut reader = reader_with(vec![7; 300_000]);
        let mut seen = Vec::new();
        for _ in 0..30 {
            assert_eq!(reader.take_front(10_000), [7; 10_000]);
            seen.push(reader.received / 1000);
            assert_eq!(reader.unread().len(), 300_000 - 10_000 * seen.len());
        }
        let expected: Vec<usize> =
            [(1..16), (1..8), (1..6)].into_iter().flat_map(|some| some.map(|n| n * 10).chain([0])).collect();
        assert_eq!(seen[..], expected[..30], "{seen:?}");
        assert!(reader.transfer.buffer().capacity() <= MAX_KEPT);
    }

    #[test]
    fn read_size_is_what_the_message_lacks() {
        let mut frame = Vec::new();
        let refs: [HandleRef; 0] = [];
        wire::write(&mut frame, wire::Envelope::default(), &wire::Table::default(), refs, b"", &[7; 300_000]);
        let lacks = |length: usize| reader_with(frame[..length].to_vec()).read_size();
        // An incomplete header, a complete header with a long rest, and a rest that is shorter than the minimum.
        assert_eq!(lacks(0), MIN_READ);
        assert_eq!(lacks(4), MIN_READ);
        assert_eq!(lacks(1000), frame.len() - 1000);
        assert_eq!(lacks(frame.len() - 1), MIN_READ);
        assert_eq!(lacks(frame.len()), MIN_READ);
        // The next message is expected to be as long as the last one, up to a limit.
        for (length, expected) in [(300_000, 300_000), (MAX_READ + 1, MAX_READ), (100, MIN_READ)] {
            let mut reader = reader_with(vec![7; length]);
            reader.take_front(length);
            assert_eq!(reader.read_size(), expected);
        }
    }
}
