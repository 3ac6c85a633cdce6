//! Sending messages from an endpoint.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, MAX_WRITTEN, Receiving, Unfinished, Woken, Writer};
use super::outbox::{Copies, Handles, Outbox};
use super::peer::Peer;
use super::receive::Found;
use super::travel::HANDLES;
use crate::channel::Message;
use crate::channel::wire::{self, Envelope, FrameType, HandleRef};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::object::BorrowedObject;
use crate::process::imp::RemoteCopy;
use crate::sys::io::Owned;
#[cfg(feature = "_async")]
use crate::sys::overlapped::prepare_lasting;
use crate::sys::overlapped::{Begun, Transfer};
use crate::sys::winsock::{Record, duplicate_for, import};
use crate::sys::{SysError, SysResult, call, create_object, handle, pipe};
use crate::wait::Deadline;

/// The maximum capacity that an emptied buffer keeps.
const MAX_KEPT: usize = 64 * 1024;
/// The time past the deadline for which objects are still prepared. A handle that doesn't answer a query at once costs
/// 200 ms.
const GRACE_PERIOD: Duration = Duration::from_millis(500);

/// The time after which a send looks again whether the call that reads has ended.
const UNTIL_CALL_ENDS: Duration = Duration::from_millis(20);

/// The maximum time that a send of objects waits until the other endpoint has moved, and the pause between two looks.
pub(super) const MAX_MOVE: Duration = Duration::from_secs(1);
pub(super) const MOVE_PAUSE: Duration = Duration::from_millis(2);

thread_local! {
    /// The memory of the list of a message's references, for the next message of this thread.
    static REFS: Cell<Vec<HandleRef>> = const { Cell::new(Vec::new()) };
}

/// The reason why a message with objects can't be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unready {
    /// The other endpoint is moving to another process.
    Moving,
    /// The stronger process hasn't allowed sockets.
    SocketsRefused,
}

impl Unready {
    /// Returns the error of a send that has waited too long.
    pub(super) fn error(self) -> Error {
        match self {
            Self::Moving => Error::invalid(
                "a message with objects",
                "can't be sent while the other endpoint is moving to another process; try again later",
            ),
            Self::SocketsRefused => Error::invalid(
                "a message with a socket",
                "can't be sent to the stronger process, which doesn't accept sockets from this one; let it call \
                 Channel::allow, or Listener::allow, with ObjectKind::Socket, or let it send the socket itself",
            ),
        }
    }
}

const STRONGER_IS_SHIELDED: &str = "Winsock may have to open the stronger process to duplicate the socket for it, and that \
    process may not let it; let the stronger process send the socket";

/// The reason why a write was not completed.
#[derive(Debug)]
pub(super) enum Unwritten {
    TimedOut,
    /// No process reads the pipe any more.
    End,
    Failed(Error),
}

/// The read that goes on beside a wait to send.
pub(super) enum Beside {
    /// The wait is also for this event, because the read is pending or has no room. The flag says whether the event is
    /// `ready`.
    Wait(Arc<Owned>, bool),
    /// Some data was available, and more may be.
    More,
    /// A call reads. It may stop at any time, so the wait is short.
    Later,
    /// Nothing more can arrive.
    No,
    /// The channel is over, which may also end the wait.
    Over,
}

/// The outcome of preparing a message.
enum Prepared {
    /// The message is in the writer's buffer.
    Message(Copies),
    Unready(Unready),
    /// The deadline passed first.
    TimedOut,
}

/// How far a task's send got without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// The pipe has no space.
    Full,
    /// No objects can be sent now.
    #[cfg(feature = "_async")]
    Unready(Unready),
}

impl Endpoint {
    /// Sends a message. Returns false if the deadline passed first.
    pub(crate) fn send(
        &self,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        frame_type: FrameType,
        deadline: Deadline,
    ) -> Result<bool> {
        message.check()?;
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.check_writer(&writer)?;
        if !self.finish(&mut writer, deadline)? {
            return Ok(false);
        }
        let end_of_move = Deadline::after(MAX_MOVE);
        let copies = loop {
            match self.prepare(&mut writer, message, travellers, frame_type, deadline)? {
                Prepared::Message(copies) => break copies,
                Prepared::TimedOut => return Ok(false),
                Prepared::Unready(Unready::Moving) if deadline.has_passed() => return Ok(false),
                Prepared::Unready(reason) if end_of_move.has_passed() || deadline.has_passed() => {
                    return Err(reason.error());
                }
                Prepared::Unready(_) => std::thread::sleep(MOVE_PAUSE),
            }
        };
        let written = self.write(&mut writer, deadline);
        self.note_written(&mut writer, copies, travellers.iter().copied(), written)
    }

    /// Returns an error if nothing can be sent.
    pub(super) fn check_writer(&self, writer: &Writer) -> Result<()> {
        self.check_open()?;
        if writer.cut_off { Err(Error::PartialSend { pid: self.process_id() }) } else { Ok(()) }
    }

    /// Duplicates the objects of a message, and puts it into the writer's buffer.
    fn prepare(
        &self,
        writer: &mut Writer,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        frame_type: FrameType,
        deadline: Deadline,
    ) -> Result<Prepared> {
        if self.outgoing().taking_has_ended() {
            self.close_fetched();
            return Err(self.disconnect_error());
        }
        let has_sockets = message.shares.iter().any(|share| share.object().is_socket());
        if has_sockets && !self.may_send_sockets() {
            if self.has_stronger_exited() {
                return Err(self.disconnect_error());
            }
            return Ok(Prepared::Unready(Unready::SocketsRefused));
        }
        let number = writer.next;
        let has_objects = message.shares.len() + travellers.len() > 0;
        let announced = if has_objects { self.announce(travellers, number)? } else { Some(0) };
        let Some(announced) = announced else { return Ok(Prepared::Unready(Unready::Moving)) };
        let peer = self.peer();
        let endpoints = travellers.len();
        let envelope = Envelope { frame_type, number, endpoints, ..Envelope::default() };
        let copies = match self.copies(message, travellers, envelope, &peer, writer, deadline) {
            Ok(Some(copies)) => copies,
            other => {
                if let (Some(travel), true) = (&self.travel, has_objects) {
                    self.page().announce(travel.side, announced);
                }
                return other.map(|_| Prepared::TimedOut);
            }
        };
        travellers.iter().for_each(|traveller| traveller.give_role(&peer));
        Ok(Prepared::Message(copies))
    }

    /// Announces the message with this number, which has objects, unless a move of the other endpoint excludes that. Returns the
    /// number that was announced before, or `None` while the other endpoint moves.
    fn announce(&self, travellers: &[&Arc<Self>], number: u64) -> Result<Option<u64>> {
        let Some(travel) = &self.travel else { return Ok(Some(0)) };
        if travellers.iter().any(|traveller| traveller.is_of_channel(self)) {
            return Err(Error::invalid("an endpoint in a message", "can't travel over its own channel"));
        }
        let before = self.page().announce(travel.side, number + 1);
        let is_left = self.is_left_by_other();
        let is_equal = matches!(self.peer(), Peer::Equal(_));
        if !is_left && !is_equal {
            return Ok(Some(before));
        }
        self.page().announce(travel.side, before);
        if is_left {
            return Ok(None);
        }
        Err(Error::invalid(
            "a message with objects",
            "can't be sent over this channel, because neither process may duplicate handles into the other one: they \
             were introduced without that right, or an endpoint has moved twice; introduce the processes with \
             os::windows::introduce_stronger, or send bytes only",
        ))
    }

    /// Begins to send a message, which then belongs to the writer as unfinished.
    #[cfg(feature = "_async")]
    pub(super) fn begin_now(
        &self,
        writer: &mut Writer,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        frame_type: FrameType,
    ) -> Result<Progress> {
        prepare_lasting().map_err(self.failed())?;
        let copies = match self.prepare(writer, message, travellers, frame_type, Deadline::NEVER)? {
            Prepared::Message(copies) => copies,
            Prepared::Unready(reason) => return Ok(Progress::Unready(reason)),
            Prepared::TimedOut => return Ok(Progress::Unready(Unready::Moving)),
        };
        travellers.iter().for_each(|traveller| traveller.is_on_its_way());
        let travellers = travellers.iter().copied().map(Arc::clone).collect();
        writer.unfinished = Some(Unfinished { copies, written: 0, travellers });
        self.finish_now(writer).map(|_| Progress::Done)
    }

    /// Writes as much as there is space for of the message that a task has begun to send, if there is one.
    pub(in crate::channel) fn finish_now(&self, writer: &mut Writer) -> Result<Progress> {
        let Some(unfinished) = &mut writer.unfinished else { return Ok(Progress::Done) };
        let transfer = &mut writer.transfer;
        let outcome = loop {
            // The thread may exit before the write is finished.
            let begun = if transfer.is_under_way() {
                Ok(Begun::UnderWay)
            } else if unfinished.written == transfer.buffer().len() {
                break Ok(());
            } else {
                transfer.write_lasting(unfinished.written, MAX_WRITTEN)
            };
            match begun.map(|_| transfer.try_finish_exactly()) {
                Ok(None) => return Ok(Progress::Full),
                Ok(Some(Ok(length))) => unfinished.written += length,
                Ok(Some(Err(error))) | Err(error) => break Err(error),
            }
        };
        self.note_finished(writer, outcome)
    }

    /// Finishes the message that a task has begun to send, if there is one. Returns false if the deadline passed first.
    pub(super) fn finish(&self, writer: &mut Writer, deadline: Deadline) -> Result<bool> {
        if writer.unfinished.is_none() {
            return Ok(true);
        }
        let mut may_read = true;
        let outcome = loop {
            match self.finish_now(writer) {
                Ok(Progress::Done) => break Ok(true),
                Ok(_) if deadline.has_passed() => break Ok(false),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
            match self.wait_and_read(deadline, &mut may_read) {
                Ok(Woken::Exited) => break self.give_up_unfinished(writer).map(|()| true),
                // A peer that broke a rule may never read again.
                Ok(_) => match self.check_open() {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(self.failed()(error)),
            }
        };
        self.end_beside();
        outcome
    }

    /// Stops writing the message that a task has begun to send, if there is one and it isn't in the pipe yet.
    pub(super) fn give_up_unfinished(&self, writer: &mut Writer) -> Result<()> {
        let Some(unfinished) = &mut writer.unfinished else { return Ok(()) };
        let outcome = match writer.transfer.cancel() {
            Ok(length) if unfinished.written + length == writer.transfer.buffer().len() => Ok(()),
            Ok(_) => Err(SysError::new(call::WRITE, ErrorKind::BrokenPipe)),
            Err(error) => Err(error),
        };
        self.note_finished(writer, outcome).map(drop)
    }

    fn note_finished(&self, writer: &mut Writer, outcome: SysResult<()>) -> Result<Progress> {
        let Some(Unfinished { copies, travellers, .. }) = writer.unfinished.take() else {
            return Ok(Progress::Done);
        };
        let outcome = outcome.map_err(|error| match error {
            error if pipe::is_end(&error) || pipe::is_cancelled(&error) || self.is_closed() => Unwritten::End,
            error if error.kind() == ErrorKind::BrokenPipe => Unwritten::End,
            error => Unwritten::Failed(self.failed()(error)),
        });
        let sent = self.note_written(writer, copies, travellers.iter(), outcome);
        writer.has_lost |= sent.is_err();
        sent.map(|_| Progress::Done)
    }

    /// Records whether the message that is in the writer's buffer was written, and empties the buffer. Returns false if the deadline
    /// passed before.
    fn note_written<'a>(
        &self,
        writer: &mut Writer,
        copies: Copies,
        travellers: impl Iterator<Item = &'a Arc<Self>>,
        written: Result<(), Unwritten>,
    ) -> Result<bool> {
        // A large message must not leave a large buffer behind in its channel.
        let buffer = writer.transfer.buffer();
        buffer.clear();
        if buffer.capacity() > MAX_KEPT {
            wire::recycle_large(std::mem::take(buffer));
        }
        let number = writer.next;
        // The receiver fetches those copies out of this process.
        let is_fetched = matches!(copies.handles, Handles::Local(_)) && self.fetched().is_some();
        let sent = match written {
            Ok(()) => {
                writer.next += 1;
                self.record_sent(copies, number).map(|()| true)
            }
            Err(unwritten) => {
                writer.cut_off = !matches!(unwritten, Unwritten::End);
                if self.withdraw(copies, number) {
                    Ok(true)
                } else {
                    match unwritten {
                        Unwritten::TimedOut => Ok(false),
                        Unwritten::End => Err(self.disconnect_error()),
                        Unwritten::Failed(error) => Err(error),
                    }
                }
            }
        };
        if let Ok(true) = sent {
            let carrier = is_fetched.then_some(&self.outbox);
            travellers.for_each(|traveller| traveller.has_departed(carrier));
        }
        sent
    }

    /// Duplicates a message's objects, and writes the frame with their handle values to the buffer. Returns `None` if
    /// that takes too long.
    fn copies(
        &self,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        envelope: Envelope,
        peer: &Peer,
        writer: &mut Writer,
        deadline: Deadline,
    ) -> Result<Option<Copies>> {
        let description = |name: &str| format!("the object {name:?} of the message");
        let of_traveller = || "an endpoint in a message".to_owned();
        let grace_deadline = deadline.or_later(GRACE_PERIOD);
        let count = message.shares.len() + travellers.len() * HANDLES;
        let buffer = writer.transfer.buffer();
        if message.bytes.len() > MAX_KEPT && buffer.capacity() <= MAX_KEPT {
            *buffer = wire::large_frame();
        }
        // A thread that is exiting has none any more.
        let mut refs = REFS.try_with(Cell::take).unwrap_or_default();
        refs.clear();
        refs.reserve(count);
        let mut sockets = Vec::new();
        let handles = match peer {
            Peer::Weaker(process) | Peer::Same(process) => {
                let mut copies = Vec::with_capacity(count);
                for (name, object) in message.objects() {
                    if grace_deadline.has_passed() {
                        return Ok(None);
                    }
                    if let Some(socket) = object.socket(|| description(name))? {
                        sockets.push((name, socket));
                        refs.push(HandleRef::Socket);
                        continue;
                    }
                    let copy = process.push(&object, || description(name))?;
                    refs.push(copy.value().into());
                    copies.push(copy);
                }
                for traveller in travellers {
                    for (handle, rights) in traveller.handles_for(true)? {
                        let object = BorrowedObject::typed(handle.as_handle(), rights);
                        let copy = process.push(&object, of_traveller)?;
                        refs.push(copy.value().into());
                        copies.push(copy);
                    }
                }
                Handles::Remote(copies)
            }
            Peer::Stronger(_) | Peer::Equal(_) => {
                let mut copies = Vec::with_capacity(count);
                for (name, object) in message.objects() {
                    if grace_deadline.has_passed() {
                        return Ok(None);
                    }
                    if let Some(socket) = object.socket(|| description(name))? {
                        sockets.push((name, socket));
                        refs.push(HandleRef::Socket);
                        continue;
                    }
                    let handle = object.checked(&|| description(name))?;
                    let copy = handle::duplicate_here(handle, object.rights(), false)
                        .map_err(|error| Error::on_handle(description(name), error))?;
                    refs.push(HandleValue::of(&copy)?.into());
                    copies.push(copy);
                }
                for traveller in travellers {
                    for (handle, rights) in traveller.handles_for(false)? {
                        let copy = handle::duplicate_here(handle.as_handle(), rights, false)
                            .map_err(|error| Error::system(of_traveller(), error))?;
                        refs.push(HandleValue::of(&copy)?.into());
                        copies.push(copy);
                    }
                }
                Handles::Local(copies)
            }
        };
        // Last, because only the receiver can close them.
        let records = self.records(&sockets, peer)?;
        let record_bytes: Vec<u8> = records.iter().flat_map(Record::bytes).copied().collect();
        wire::write(buffer, envelope, &message.table, refs.iter().copied(), &record_bytes, &message.bytes);
        let _ = REFS.try_with(|spare| spare.set(refs));
        Ok(Some(Copies { handles, records }))
    }

    /// Duplicates sockets, which have these names, for the process at the other endpoint. Returns their records.
    fn records(&self, sockets: &[(&str, BorrowedHandle<'_>)], peer: &Peer) -> Result<Vec<Record>> {
        let mut records = Vec::with_capacity(sockets.len());
        for (name, socket) in sockets {
            let object = format!("the object {name:?} of the message");
            // The handle keeps the process's id from being used again.
            let Some(process) = peer.process() else {
                if self.has_stronger_exited() {
                    return Err(self.disconnect_error());
                }
                return Err(Error::invalid(
                    object,
                    format!(
                        "is a socket, and process {} may not be opened to duplicate it for that; let that process send it",
                        peer.id()
                    ),
                ));
            };
            let record = duplicate_for(*socket, process.id()).map_err(|error| {
                self.close_own(&records);
                if process.is_going() {
                    return self.disconnect_error();
                }
                match peer {
                    Peer::Stronger(_) => Error::system(format!("{object}: {}", STRONGER_IS_SHIELDED), error),
                    _ => Error::system(object, error),
                }
            })?;
            records.push(record);
        }
        Ok(records)
    }

    /// Closes the duplicates of sockets that won't arrive, if this process has both endpoints. Otherwise they are in another
    /// process, which alone can close them.
    fn close_own(&self, records: &[Record]) {
        if let Peer::Same(_) = self.peer() {
            records.iter().for_each(|record| drop(import(record)));
        }
    }

    /// Records that the message is in the pipe: the receiver owns its objects, or will fetch them.
    fn record_sent(&self, copies: Copies, number: u64) -> Result<()> {
        if copies.is_empty() {
            return Ok(());
        }
        let Copies { handles, records } = copies;
        match handles {
            Handles::Remote(copies) => {
                // `cut_giving` makes the withdrawal final: if the peer reads the message later, it doesn't take the
                // objects.
                if !self.outgoing().give(number) && !self.outgoing().cut_giving(number) {
                    // Dropping the copies closes them in the peer process.
                    self.close_own(&records);
                    return Err(self.disconnect_error());
                }
                RemoteCopy::release_all(copies);
            }
            Handles::Local(copies) => self.keep_until_fetched(number, copies),
        }
        Ok(())
    }

    /// Withdraws a message that was not written completely. Its objects still belong to this process and are closed.
    /// Returns true if the peer has nevertheless read all of the message and taken its objects.
    fn withdraw(&self, copies: Copies, number: u64) -> bool {
        if !self.outgoing().cut_giving(number) {
            self.close_own(&copies.records);
            return false;
        }
        match copies.handles {
            Handles::Remote(copies) => RemoteCopy::release_all(copies),
            Handles::Local(copies) => self.keep_until_fetched(number, copies),
        }
        true
    }

    /// Writes the contents of the writer's buffer.
    fn write(&self, writer: &mut Writer, deadline: Deadline) -> Result<(), Unwritten> {
        let length = writer.transfer.buffer().len();
        let mut written = 0;
        while written < length {
            let outcome = match writer.transfer.write(written, MAX_WRITTEN) {
                Ok(Begun::Done) => writer.transfer.finish(),
                Ok(Begun::UnderWay) => self.wait_for_write(&mut writer.transfer, deadline)?,
                Err(error) => Err(error),
            };
            written += outcome.map_err(|error| match error {
                error if pipe::is_end(&error) || self.is_closed() => Unwritten::End,
                error if pipe::is_cancelled(&error) && deadline.has_passed() => Unwritten::TimedOut,
                error if pipe::is_cancelled(&error) => Unwritten::End,
                error => Unwritten::Failed(self.failed()(error)),
            })?;
        }
        Ok(())
    }

    /// Waits for a write for which the pipe had no space.
    fn wait_for_write(
        &self,
        transfer: &mut Transfer,
        deadline: Deadline,
    ) -> Result<SysResult<usize>, Unwritten> {
        let mut may_read = true;
        let outcome = loop {
            match self.wait_and_read(deadline, &mut may_read) {
                Ok(Woken::Done) => break Ok(transfer.finish()),
                Ok(Woken::Exited) => break Ok(transfer.cancel()),
                Ok(_) if deadline.has_passed() => break Ok(transfer.cancel()),
                // A peer that broke a rule may never read again.
                Ok(_) => match self.check_open() {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(self.failed()(error)),
            }
        };
        self.end_beside();
        outcome.map_err(|error| {
            // The write must not use its buffer any more when that is used again.
            let _ = transfer.cancel();
            Unwritten::Failed(error)
        })
    }

    /// Ends the reading beside a wait to send. The data that was read stays in the buffer.
    pub(super) fn end_beside(&self) {
        let mut receiving = self.receiving.lock();
        let Some(beside) = receiving.beside.take() else { return };
        receiving.is_awaited = false;
        let is_under_way = receiving.transfer.is_under_way();
        if is_under_way && receiving.is_beside {
            // An error shows up again in the next read.
            let _ = receiving.transfer.cancel();
        }
        if !is_under_way || receiving.is_beside {
            receiving.transfer.set_done(&self.ready);
        }
        // Another send may wait for it too, and goes on to read.
        create_object::show(beside.as_handle(), true);
    }

    /// Waits until a write is finished, or until something else changes. The peer may be writing too, and may read only
    /// once its write is done. So this reads incoming data and keeps it for the next receive.
    fn wait_and_read(&self, deadline: Deadline, may_read: &mut bool) -> SysResult<Woken> {
        let beside = if *may_read { self.read_beside()? } else { Beside::No };
        let (event, is_counted, until) = match beside {
            Beside::Wait(event, is_ready) => (Some(event), is_ready, deadline),
            Beside::More => (None, false, deadline.or_sooner(Duration::ZERO)),
            Beside::Later => (None, false, deadline.or_sooner(UNTIL_CALL_ENDS)),
            Beside::No | Beside::Over => {
                *may_read = false;
                let is_over = matches!(beside, Beside::Over);
                (None, false, if is_over { deadline.or_sooner(Duration::ZERO) } else { deadline })
            }
        };
        // The event comes first. If the peer changes after that, the event tells it.
        let changed = self.changed();
        let (process, carrier) = (self.other_process(), self.carrier_to_watch());
        let objects = [
            (Some(self.written.as_handle()), Woken::Done),
            (self.fetched(), Woken::Fetched),
            (process.as_ref().map(AsHandle::as_handle), Woken::Exited),
            (event.as_ref().map(|event| event.as_handle()), Woken::Read),
            (changed.as_ref().map(|changed| changed.as_handle()), Woken::Read),
            (carrier.as_ref().map(|carrier| carrier.fetched.as_handle()), Woken::Carried),
        ];
        let woken = self.wait_for(objects, until);
        if is_counted {
            self.receiving.lock().waiting -= 1;
        }
        match woken {
            Ok(Woken::Fetched) => self.close_fetched(),
            Ok(Woken::Carried) => self.close_carried(),
            Ok(Woken::Exited) if !process.as_ref().is_some_and(|process| self.counts(process)) => {
                return Ok(Woken::Read);
            }
            _ => {}
        }
        woken
    }

    /// Does what [`read_beside_of`](Self::read_beside_of) does, for a thread.
    fn read_beside(&self) -> SysResult<Beside> {
        let mut receiving = self.receiving.lock();
        // A task that reads for its call would read again.
        if !self.is_over() && (receiving.calls.reads || receiving.tasks.is_read_for_call()) {
            return Ok(Beside::Later);
        }
        let beside = self.read_beside_of(&mut receiving)?;
        if let Beside::Wait(_, true) = beside {
            receiving.waiting += 1;
        }
        Ok(beside)
    }

    /// Reads what has arrived, or begins to read, unless the buffer holds enough for the next receives.
    pub(super) fn read_beside_of(&self, receiving: &mut Receiving) -> SysResult<Beside> {
        if self.is_over() {
            return Ok(Beside::Over);
        }
        // The event may also be the one of a call, whose task now polls a send.
        let events = [receiving.beside.clone(), receiving.call_event.clone()];
        let event = events.into_iter().flatten().find(|event| receiving.transfer.sets(event));
        if let (true, Some(event)) = (receiving.transfer.is_under_way() && receiving.is_beside, event) {
            return Ok(match receiving.transfer.try_finish() {
                None => Beside::Wait(event, false),
                Some(Err(error)) if !pipe::is_cancelled(&error) => Beside::No,
                Some(_) => Beside::More,
            });
        }
        let found = self.fill(receiving);
        if self.check_queued(receiving).is_err() {
            return Ok(Beside::Over);
        }
        if let (Ok(Found::Pending), false) = (&found, receiving.calls.has_message()) {
            return Ok(Beside::Wait(Arc::clone(&self.ready), true));
        }
        // Other threads can receive the message, or the error.
        self.publish(receiving);
        match found {
            Ok(Found::Message(_)) => {}
            Ok(Found::Pending) => match receiving.transfer.cancel() {
                Err(error) if pipe::is_cancelled(&error) => {}
                Err(_) => return Ok(Beside::No),
                Ok(_) => return Ok(Beside::More),
            },
            Ok(Found::Parts) => return Ok(Beside::More),
            Ok(Found::End) | Err(_) => return Ok(Beside::No),
        }
        let beside = match &receiving.beside {
            Some(beside) => Arc::clone(beside),
            None => Arc::new(create_object::event(true)?),
        };
        receiving.beside = Some(Arc::clone(&beside));
        if receiving.is_full() {
            create_object::reset_event(beside.as_handle())?;
            receiving.is_awaited = true;
            return Ok(Beside::Wait(beside, false));
        }
        receiving.transfer.set_done(&beside);
        Ok(match receiving.begin(true) {
            Ok(Begun::UnderWay) => Beside::Wait(beside, false),
            Ok(Begun::Done) if receiving.transfer.finish().is_ok() => Beside::More,
            // The error shows up again in the next receive, which reports it.
            _ => Beside::No,
        })
    }

    /// Keeps the duplicates of a message's objects until the stronger endpoint has fetched them.
    fn keep_until_fetched(&self, number: u64, copies: Vec<Owned>) {
        let mut unfetched = self.outbox.unfetched.lock();
        unfetched.copies.push_back((number, copies));
        // They may have been fetched already, and the event reports that only once.
        self.outbox.close_fetched_of(&mut unfetched);
    }

    /// Closes the duplicates that the stronger endpoint has fetched, and those that it never will fetch.
    pub(super) fn close_fetched(&self) {
        self.outbox.close_fetched();
    }

    /// Returns the outbox in which the other endpoint waits until it is fetched.
    pub(super) fn carrier_to_watch(&self) -> Option<Arc<Outbox>> {
        self.travel.as_ref()?;
        self.close_carried();
        self.current.lock().carrier.clone()
    }

    /// Closes this process's handles to the other endpoint once they are fetched.
    pub(super) fn close_carried(&self) {
        let Some(carrier) = self.current.lock().carrier.clone() else { return };
        carrier.close_fetched();
        if carrier.unfetched.lock().copies.is_empty() {
            self.current.lock().carrier = None;
        }
    }

    /// Waits until the peer has its own handles to all objects that were sent. Returns false if the deadline passed
    /// first.
    pub(crate) fn flush(&self, deadline: Deadline) -> Result<bool> {
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        if !self.finish(&mut writer, deadline)? {
            return Ok(false);
        }
        self.wait_until_fetched(&writer, deadline, false)
    }

    /// Waits until the stronger endpoint has fetched all objects. Its process may first wait for its own message to be
    /// read, so this reads incoming data meanwhile. The writer is this thread's, so no write uses the event that this
    /// waits for.
    pub(super) fn wait_until_fetched(
        &self,
        _writer: &Writer,
        deadline: Deadline,
        is_dropped: bool,
    ) -> Result<bool> {
        let (mut may_read, mut has_exited) = (true, false);
        let outcome = loop {
            let mut unfetched = self.outbox.unfetched.lock();
            self.outbox.close_fetched_of(&mut unfetched);
            let first = unfetched.copies.front().map(|(number, _)| *number);
            let is_cut_short = self.is_closed() && !is_dropped;
            // Even if some are lost, others may be in the middle of a fetch.
            let has_failed = is_cut_short || if first.is_some() { has_exited } else { unfetched.has_lost };
            unfetched.is_awaited = first.is_some() && !has_failed;
            if unfetched.is_awaited {
                create_object::show(self.written.as_handle(), false);
            }
            drop(unfetched);
            let first = match first {
                _ if has_failed => break Err(self.disconnect_error()),
                None => break Ok(true),
                Some(first) => first,
            };
            match self.wait_and_read(deadline, &mut may_read) {
                // It may have fetched everything before it exited.
                Ok(Woken::Exited) => has_exited = true,
                Ok(_) if deadline.has_passed() && self.page().fetched() <= first => break Ok(false),
                Ok(_) => {}
                Err(error) => break Err(self.failed()(error)),
            }
        };
        self.end_beside();
        self.outbox.unfetched.lock().is_awaited = false;
        outcome
    }
}
