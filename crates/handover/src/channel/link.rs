//! One end of a channel: sending and receiving over the pipe, and who owns what is under way.
//!
//! The *stronger* end, a parent or a server, has a handle to the weaker process with which it duplicates in both
//! directions. A message from it:
//!
//! 1. it puts the objects into the weaker process's table,
//! 2. writes the frame with their values there,
//! 3. and gives them away in the ledger; if the weaker end has closed before that, it closes them over there.
//!
//! A message from the weaker end:
//!
//! 1. it duplicates the objects in its own table,
//! 2. writes the frame with their values,
//! 3. the stronger end takes them in the ledger, duplicates each to itself, says so in the ledger and sets an event,
//! 4. and the weaker end closes its duplicates, when it sends, receives or waits to.

use std::collections::VecDeque;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use super::ledger::{Ledger, WORDS};
use super::message::{Arrived, Message, Received};
use super::turn::Turn;
use super::wire::{self, Broken, Entry, Header};
use crate::process::Remote;
use crate::sys::memory::Words;
use crate::sys::transfer::{Begun, Transfer};
use crate::sys::{event, handle, pipe};
use crate::wait::{self, Deadline};
use crate::{Error, Kind, Process, Result};

/// The kinds that an end lets in unless it is told otherwise: none of them is power over a process.
const ALLOWED: [Kind; 6] =
    [Kind::Event, Kind::Mutex, Kind::Semaphore, Kind::Section, Kind::File, Kind::Timer];

/// The most bytes that one call writes. The system needs memory of its own for each.
const MOST_WRITTEN: usize = 1024 * 1024;
/// How many bytes are read at once: at least what most messages need, at most what the pipe holds.
const LEAST_READ: usize = 4 * 1024;
const MOST_READ: usize = 64 * 1024;

/// After which time it is looked again what another thread of this process has done or left undone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a weaker end that is dropped waits for the stronger one to fetch what was sent.
const LINGER: Duration = Duration::from_secs(10);
/// How long it takes at most to fetch what has been begun to be fetched.
const FETCHING: Duration = Duration::from_secs(1);

/// Who has the other end.
#[derive(Debug)]
pub(super) enum Peer {
    /// A child or a client. The handle can duplicate.
    Weaker(Process),
    /// The parent or server, or its id if it had ended before it could be opened. The handle can only wait.
    Stronger(Result<Process, u32>),
}

#[derive(Debug)]
pub(super) struct Link {
    peer: Peer,
    words: Words<WORDS>,
    /// Set by the stronger end when it has fetched something.
    fetched: OwnedHandle,
    /// Whether this weaker end has duplicates that wait to be fetched.
    is_being_fetched: AtomicBool,
    reader: Turn<Reader>,
    writer: Turn<Writer>,
    /// What the other end did wrong; from then on nothing is read or written.
    broken: OnceLock<Broken>,
    allowed: RwLock<Vec<Kind>>,
}

/// What one thread at a time needs to read.
#[derive(Debug)]
pub(super) struct Reader {
    transfer: Transfer,
    /// The number of the next message.
    next: u64,
}

/// What one thread at a time needs to write.
#[derive(Debug)]
pub(super) struct Writer {
    transfer: Transfer,
    /// The number of the next message.
    next: u64,
    cut_off: bool,
    /// The weaker end's duplicates that haven't been fetched, by the number of their message.
    to_be_fetched: VecDeque<(u64, Vec<OwnedHandle>)>,
}

impl Reader {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, next: 0 }
    }
}

impl Writer {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, next: 0, cut_off: false, to_be_fetched: VecDeque::new() }
    }
}

/// What an attempt to read brought.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Bytes,
    /// Nobody writes any more.
    End,
    TimedOut,
}

/// How a write ended that wasn't completed.
#[derive(Debug)]
enum Unwritten {
    TimedOut,
    /// Nobody reads any more.
    End,
    Failed(Error),
}

/// The copies of a message's objects, before the message is the receiver's.
enum Copies {
    There(Vec<Remote>),
    Here(Vec<OwnedHandle>),
}

impl Link {
    pub(super) fn new(
        peer: Peer,
        words: Words<WORDS>,
        fetched: OwnedHandle,
        reader: Reader,
        writer: Writer,
    ) -> Self {
        Self {
            peer,
            words,
            fetched,
            is_being_fetched: AtomicBool::new(false),
            reader: Turn::new(reader),
            writer: Turn::new(writer),
            broken: OnceLock::new(),
            allowed: RwLock::new(ALLOWED.to_vec()),
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match &self.peer {
            Peer::Weaker(process) | Peer::Stronger(Ok(process)) => Some(process),
            Peer::Stronger(Err(_)) => None,
        }
    }

    pub(super) fn process_id(&self) -> u32 {
        match &self.peer {
            Peer::Weaker(process) | Peer::Stronger(Ok(process)) => process.id(),
            Peer::Stronger(Err(id)) => *id,
        }
    }

    pub(super) fn allow(&self, kind: Kind) {
        // A panic can't leave a list of kinds half changed.
        self.allowed.write().unwrap_or_else(PoisonError::into_inner).push(kind);
    }

    pub(super) fn allow_only(&self, kinds: Vec<Kind>) {
        *self.allowed.write().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger(self.words.words())
    }

    fn failed(&self, call: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let what = format!("the channel to process {}", self.process_id());
        move |source| Error::System { call, what, source }
    }

    /// Why nothing more comes or goes.
    fn ended(&self) -> Error {
        let ledger = self.ledger();
        let has_closed = match &self.peer {
            Peer::Weaker(_) => ledger.pushed().taking_has_ended(),
            Peer::Stronger(_) => ledger.pulled().taking_has_ended(),
        };
        let process = self.process_id();
        if has_closed || self.process().is_some_and(|process| !process.is_going()) {
            return Error::Closed { process };
        }
        Error::PeerGone { process, what: "reach over the channel".into() }
    }

    /// The other end has broken a rule: the channel ends here.
    fn broke_off(&self, why: Broken) -> Error {
        Error::Protocol { process: self.process_id(), why: self.broken.get_or_init(|| why) }
    }

    fn check_not_broken(&self) -> Result<()> {
        self.broken.get().map_or(Ok(()), |why| Err(self.broke_off(why)))
    }
}

/// Receiving.
impl Link {
    /// The next message; `None` if it doesn't come in time.
    pub(super) fn receive(&self, deadline: Deadline) -> Result<Option<Received>> {
        let Some(mut reader) = self.reader.wait(deadline) else { return Ok(None) };
        loop {
            self.check_not_broken()?;
            if let Some(received) = self.next_message(&mut reader)? {
                return Ok(Some(received));
            }
            match self.read(&mut reader, deadline)? {
                Read::Bytes => {}
                Read::TimedOut => return Ok(None),
                Read::End => {
                    if !reader.transfer.buffer().is_empty() && !self.process().is_none_or(Process::is_going) {
                        return Err(self.broke_off("the last frame is cut off"));
                    }
                    return Err(self.ended());
                }
            }
        }
    }

    /// The message at the front of what was read, if all of it is there.
    fn next_message(&self, reader: &mut Reader) -> Result<Option<Received>> {
        let broken = |why| self.broke_off(why);
        let buffer = reader.transfer.buffer();
        let Some(header) = Header::parse(buffer).map_err(broken)? else { return Ok(None) };
        let length = header.frame_length();
        if buffer.len() < length {
            return Ok(None);
        }
        if header.number != reader.next {
            return Err(broken("a message is missing or out of order"));
        }
        let (entries, bytes) = wire::parse(&header, &buffer[..length]).map_err(broken)?;
        let bytes = bytes.to_vec();
        reader.next += 1;
        buffer.drain(..length);
        if buffer.is_empty() {
            // A large message leaves no large buffer behind.
            buffer.shrink_to(MOST_READ);
        }
        let objects = if header.has_objects() { self.arrive(header.number, entries)? } else { Vec::new() };
        Ok(Some(Received::new(bytes, objects)))
    }

    /// Makes this process the owner of a message's objects: of all of them, or of none.
    fn arrive(&self, number: u64, entries: Vec<Entry>) -> Result<Vec<Arrived>> {
        let handles = match &self.peer {
            Peer::Weaker(process) => self.fetch(process, number, &entries)?,
            Peer::Stronger(_) => {
                if !self.ledger().pushed().take(number) {
                    return Err(self.ended());
                }
                entries.iter().map(|(_, value)| handle::own(*value)).collect()
            }
        };
        let allowed = self.allowed.read().unwrap_or_else(PoisonError::into_inner);
        let mut objects = Vec::with_capacity(handles.len());
        for ((name, _), handle) in entries.into_iter().zip(handles) {
            let kind = handle::type_name(handle::raw_of(handle.as_handle())).map_err(|source| {
                if handle::is_invalid_handle(&source) {
                    return self.broke_off("an object has a value that is no open handle");
                }
                self.failed("NtQueryObject")(source)
            })?;
            let kind = Kind::from_type_name(&kind);
            if !allowed.contains(&kind) {
                let process = self.process_id();
                return Err(Error::KindNotAllowed { process, name: name.into(), found: kind });
            }
            objects.push(Arrived { name, kind, handle: Some(handle) });
        }
        Ok(objects)
    }

    /// Takes a message's objects out of the weaker process.
    fn fetch(&self, process: &Process, number: u64, entries: &[Entry]) -> Result<Vec<OwnedHandle>> {
        if !self.ledger().pulled().take(number) {
            return Err(self.ended());
        }
        let copies: Result<Vec<OwnedHandle>> =
            entries.iter().map(|(_, value)| process.fetch(*value)).collect();
        // Also after a failure: what isn't fetched now never is, and the other end can close it.
        self.ledger().set_fetched(number + 1);
        let told = event::set(self.fetched.as_handle());
        let copies = copies.map_err(|error| match error {
            Error::NotOpen { .. } => self.broke_off("an object has a value that is no open handle"),
            other => other,
        })?;
        told.map_err(self.failed("SetEvent"))?;
        Ok(copies)
    }

    /// Waits until the read is done (0), or the process has ended (1). Whoever waits for messages also closes what the
    /// other end has fetched meanwhile, so that a worker that waits for its next task doesn't keep the last one's
    /// objects alive.
    fn wait_to_read(
        &self,
        done: BorrowedHandle<'_>,
        process: BorrowedHandle<'_>,
        deadline: Deadline,
    ) -> std::io::Result<Option<usize>> {
        loop {
            if !self.is_being_fetched.load(Relaxed) {
                return wait::any(&[done, process], deadline);
            }
            match wait::any(&[done, process, self.fetched.as_handle()], deadline)? {
                Some(2) => {
                    // Whoever is sending just now does it with the next message.
                    if let Some(mut writer) = self.writer.wait(Deadline::after(Duration::ZERO)) {
                        self.close_what_was_fetched(&mut writer);
                    }
                }
                other => return Ok(other),
            }
        }
    }

    /// Reads what there is to the end of the reader's buffer, or waits for it.
    fn read(&self, reader: &mut Reader, deadline: Deadline) -> Result<Read> {
        let begun = reader.begin();
        let woken = match &begun {
            Ok(Begun::UnderWay) => match self.process() {
                Some(process) => self.wait_to_read(reader.transfer.done(), process.as_handle(), deadline),
                // What it wrote before it ended is here by now.
                None => wait::any(&[reader.transfer.done()], Deadline::after(Duration::ZERO))
                    .map(|woken| woken.or(Some(1))),
            },
            Ok(Begun::Done) => Ok(Some(0)),
            Err(_) => Ok(Some(1)),
        };
        let outcome = match (begun, &woken) {
            (Err(error), _) => Err(error),
            (_, Ok(Some(0))) => reader.transfer.finish(),
            _ => reader.transfer.cancel(),
        };
        let woken = woken.map_err(self.failed("WaitForMultipleObjects"))?;
        match outcome {
            // A write of no bytes is no reason to go on past the deadline.
            Ok(0) if deadline.has_passed() => Ok(Read::TimedOut),
            Ok(_) => Ok(Read::Bytes),
            Err(error) if pipe::is_end(&error) => Ok(Read::End),
            Err(error) if pipe::is_cancelled(&error) => {
                Ok(if woken.is_some() { Read::End } else { Read::TimedOut })
            }
            Err(source) => Err(self.failed("ReadFile")(source)),
        }
    }
}

impl Reader {
    /// Begins to read: what the message at the front lacks, if it is known.
    fn begin(&mut self) -> std::io::Result<Begun> {
        let buffer = self.transfer.buffer();
        let lacking = match Header::parse(buffer) {
            Ok(Some(header)) => header.frame_length().saturating_sub(buffer.len()),
            _ => 0,
        };
        self.transfer.read(lacking.clamp(LEAST_READ, MOST_READ))
    }

    /// Begins to read while something is being written. What fails here fails again for whoever receives, and is
    /// said there.
    fn begin_beside(&mut self) -> Beside {
        if self.transfer.buffer().len() >= wire::LONGEST_FRAME {
            return Beside::Full;
        }
        match self.begin() {
            Ok(Begun::UnderWay) => Beside::UnderWay,
            Ok(Begun::Done) if self.transfer.finish().is_ok() => Beside::More,
            _ => Beside::NoMore,
        }
    }

    /// Ends it again; whether more can come.
    fn end_beside(&mut self, is_done: bool) -> bool {
        if is_done {
            return self.transfer.finish().is_ok();
        }
        // Not done is the usual end; a failure shows at the next read.
        let _ = self.transfer.cancel();
        true
    }
}

/// What became of a read that was begun beside a write.
#[derive(Debug, PartialEq, Eq)]
enum Beside {
    UnderWay,
    /// Something was there already.
    More,
    NoMore,
    /// Enough is kept for whoever receives.
    Full,
}

/// Sending.
impl Link {
    /// Sends a message; false if it could not begin to in time.
    pub(super) fn send(&self, message: &Message<'_>, deadline: Deadline) -> Result<bool> {
        wire::check(message.names(), &message.bytes)?;
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.check_not_broken()?;
        if writer.cut_off {
            return Err(Error::CutOff { process: self.process_id() });
        }
        self.close_what_was_fetched(&mut writer);
        let number = writer.next;
        let copies = self.copies(message, number, &mut writer)?;
        match self.write(&mut writer, deadline) {
            Ok(()) => {
                writer.next += 1;
                self.sent(copies, number, &mut writer).map(|()| true)
            }
            Err(unwritten) => {
                writer.cut_off = !matches!(unwritten, Unwritten::End);
                if self.unsent(copies, number, &mut writer) {
                    return Ok(true);
                }
                match unwritten {
                    Unwritten::TimedOut => Ok(false),
                    Unwritten::End => Err(self.ended()),
                    Unwritten::Failed(error) => Err(error),
                }
            }
        }
    }

    /// Makes the copies of a message's objects and the frame that says where they are.
    fn copies(&self, message: &Message<'_>, number: u64, writer: &mut Writer) -> Result<Copies> {
        let what = |name: &str| format!("the object {name:?} of the message");
        let names = message.names();
        let buffer = writer.transfer.buffer();
        match &self.peer {
            Peer::Weaker(process) => {
                let copies = message.objects.iter().map(|(name, object)| process.push(object, || what(name)));
                let copies = copies.collect::<Result<Vec<Remote>>>()?;
                wire::write(buffer, number, names.zip(copies.iter().map(Remote::value)), &message.bytes);
                Ok(Copies::There(copies))
            }
            Peer::Stronger(_) => {
                let copies = message.objects.iter().map(|(name, object)| {
                    let handle = object.checked(|| what(name))?;
                    handle::duplicate_here(handle, object.access(), false)
                        .map_err(|source| Error::on_handle("DuplicateHandle", what(name), source))
                });
                let copies = copies.collect::<Result<Vec<OwnedHandle>>>()?;
                let values = copies.iter().map(crate::HandleValue::of).collect::<Result<Vec<_>>>()?;
                wire::write(buffer, number, names.zip(values), &message.bytes);
                Ok(Copies::Here(copies))
            }
        }
    }

    /// The message is in the pipe: its objects are the receiver's, or will be fetched by it.
    fn sent(&self, copies: Copies, number: u64, writer: &mut Writer) -> Result<()> {
        match copies {
            Copies::There(copies) if copies.is_empty() => {}
            Copies::There(copies) => {
                if !self.ledger().pushed().give(number) {
                    // Dropping them closes them over there.
                    return Err(self.ended());
                }
                Remote::release_all(copies);
            }
            Copies::Here(copies) if copies.is_empty() => {}
            Copies::Here(copies) => self.is_to_be_fetched(writer, number, copies),
        }
        Ok(())
    }

    /// The message isn't in the pipe, or not all of it. Its objects are ours still, and closed, unless the other end
    /// has read all of it just so, which is the answer.
    fn unsent(&self, copies: Copies, number: u64, writer: &mut Writer) -> bool {
        let direction = match &self.peer {
            Peer::Weaker(_) => self.ledger().pushed(),
            Peer::Stronger(_) => self.ledger().pulled(),
        };
        if direction.end_giving() <= number {
            return false;
        }
        match copies {
            Copies::There(copies) => Remote::release_all(copies),
            Copies::Here(copies) => self.is_to_be_fetched(writer, number, copies),
        }
        true
    }

    /// Writes what is in the writer's buffer.
    fn write(&self, writer: &mut Writer, deadline: Deadline) -> Result<(), Unwritten> {
        let length = writer.transfer.buffer().len();
        let mut written = 0;
        while written < length {
            let outcome = match writer.transfer.write(written, MOST_WRITTEN) {
                Ok(Begun::Done) => writer.transfer.finish(),
                Ok(Begun::UnderWay) => self.wait_for_write(&mut writer.transfer, deadline)?,
                Err(error) => Err(error),
            };
            written += outcome.map_err(|error| match error {
                error if pipe::is_end(&error) => Unwritten::End,
                error if pipe::is_cancelled(&error) && deadline.has_passed() => Unwritten::TimedOut,
                error if pipe::is_cancelled(&error) => Unwritten::End,
                source => Unwritten::Failed(self.failed("WriteFile")(source)),
            })?;
        }
        // A large message leaves no large buffer behind.
        let buffer = writer.transfer.buffer();
        buffer.clear();
        buffer.shrink_to(MOST_READ);
        Ok(())
    }

    /// Waits for a write that the pipe has no room for. The other end may be writing just so, and read only when it
    /// is done: so what it writes is read meanwhile.
    fn wait_for_write(
        &self,
        transfer: &mut Transfer,
        deadline: Deadline,
    ) -> Result<std::io::Result<usize>, Unwritten> {
        let failed = |source| Unwritten::Failed(self.failed("WaitForMultipleObjects")(source));
        let mut may_read = true;
        loop {
            let Some(process) = self.process() else { return Ok(transfer.cancel()) };
            let mut reader = if may_read { self.reader.wait(Deadline::after(Duration::ZERO)) } else { None };
            let reading = match reader.as_mut().map(|reader| reader.begin_beside()) {
                Some(Beside::UnderWay) => true,
                Some(Beside::More) => continue,
                Some(Beside::NoMore) => {
                    may_read = false;
                    false
                }
                Some(Beside::Full) | None => false,
            };
            let mut objects: Vec<BorrowedHandle<'_>> = vec![transfer.done(), process.as_handle()];
            let until = match &reader {
                Some(reader) if reading => {
                    objects.push(reader.transfer.done());
                    deadline
                }
                _ => deadline.or_sooner(LOOK_AGAIN),
            };
            let woken = wait::any(&objects, until);
            if let Some(reader) = reader.as_mut().filter(|_| reading) {
                may_read = reader.end_beside(matches!(woken, Ok(Some(2))));
            }
            match woken {
                Ok(Some(0)) => return Ok(transfer.finish()),
                Ok(Some(1)) => return Ok(transfer.cancel()),
                Ok(None) if deadline.has_passed() => return Ok(transfer.cancel()),
                Ok(_) => {}
                Err(source) => {
                    // The write is finished with before its buffer is used again.
                    let _ = transfer.cancel();
                    return Err(failed(source));
                }
            }
        }
    }

    fn is_to_be_fetched(&self, writer: &mut Writer, number: u64, copies: Vec<OwnedHandle>) {
        writer.to_be_fetched.push_back((number, copies));
        self.is_being_fetched.store(true, Relaxed);
    }

    /// Closes the duplicates that the stronger end has its own copies of by now.
    fn close_what_was_fetched(&self, writer: &mut Writer) {
        let fetched = self.ledger().fetched();
        while writer.to_be_fetched.front().is_some_and(|(number, _)| *number < fetched) {
            writer.to_be_fetched.pop_front();
        }
        self.is_being_fetched.store(!writer.to_be_fetched.is_empty(), Relaxed);
    }

    /// Waits until the other end has all objects that were sent; false if it doesn't in time.
    pub(super) fn flush(&self, deadline: Deadline) -> Result<bool> {
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.wait_until_fetched(&mut writer, deadline)
    }

    fn wait_until_fetched(&self, writer: &mut Writer, deadline: Deadline) -> Result<bool> {
        loop {
            self.close_what_was_fetched(writer);
            if writer.to_be_fetched.is_empty() {
                return Ok(true);
            }
            let Some(process) = self.process() else { return Err(self.ended()) };
            if self.ledger().pulled().taking_has_ended() {
                return Err(self.ended());
            }
            // A thread that receives can be woken in our place.
            let until = deadline.or_sooner(LOOK_AGAIN);
            match wait::any(&[self.fetched.as_handle(), process.as_handle()], until) {
                Ok(Some(1)) => return Err(self.ended()),
                Ok(None) if deadline.has_passed() => return Ok(false),
                Ok(_) => {}
                Err(source) => return Err(self.failed("WaitForMultipleObjects")(source)),
            }
        }
    }
}

/// Closing.
impl Drop for Link {
    fn drop(&mut self) {
        match &self.peer {
            Peer::Weaker(_) => {
                // Nothing is left to do but to say so: what was pushed is given or closed, what wasn't pulled is
                // the weaker end's.
                self.ledger().pulled().end_taking();
                let _ = event::set(self.fetched.as_handle());
            }
            Peer::Stronger(_) => {
                self.close_what_is_to_be_fetched();
                self.close_what_was_not_received();
            }
        }
    }
}

impl Link {
    /// The weaker end's duplicates: they are closed when they have been fetched, or can't be any more.
    fn close_what_is_to_be_fetched(&self) {
        let Some(mut writer) = self.writer.wait(Deadline::NEVER) else { return };
        // The errors are that the other end is gone or has closed, and then nothing is to be fetched.
        let _ = self.wait_until_fetched(&mut writer, Deadline::after(LINGER));
        let taken = self.ledger().pulled().end_giving();
        // What was never begun to be fetched is ours alone.
        writer.to_be_fetched.retain(|(number, _)| *number < taken);
        let is_there = |process: &Process| !process.has_ended().unwrap_or(false);
        if !self.process().is_some_and(is_there) {
            return;
        }
        if let Ok(false) = self.wait_until_fetched(&mut writer, Deadline::after(FETCHING)) {
            // It stands still in the middle of fetching. If the values were given again meanwhile, it would get
            // strangers.
            std::mem::forget(std::mem::take(&mut writer.to_be_fetched));
        }
    }

    /// What the stronger end has given to this one: it is read and closed.
    fn close_what_was_not_received(&self) {
        let given = self.ledger().pushed().end_taking();
        let Some(mut reader) = self.reader.wait(Deadline::NEVER) else { return };
        while self.broken.get().is_none() && reader.next < given {
            // A message is whole in the pipe before it is given, so none of this waits.
            match self.next_message(&mut reader) {
                Ok(Some(received)) => drop(received),
                Err(Error::KindNotAllowed { .. }) => {}
                Ok(None)
                    if self
                        .read(&mut reader, Deadline::after(FETCHING))
                        .is_ok_and(|read| read == Read::Bytes) => {}
                _ => return,
            }
        }
    }
}
