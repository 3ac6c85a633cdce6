//! Sending.

use std::os::windows::io::BorrowedHandle;
use std::time::Duration;

use super::endpoint::{Endpoint, LOOK_AGAIN, Peer, Woken, Writer};
use super::receive::Beside;
use crate::channel::Message;
use crate::channel::wire;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::imp::RemoteCopy;
use crate::sys::io::Owned;
use crate::sys::overlapped::{Begun, Transfer};
use crate::sys::{SysResult, handle, pipe};
use crate::wait::Deadline;

/// The most bytes that one call writes. The system needs memory of its own for each.
const MOST_WRITTEN: usize = 1024 * 1024;
/// How large a buffer is kept.
const MOST_KEPT: usize = 64 * 1024;
/// How far past a deadline objects are looked at: a handle that can't be asked at once costs a fifth of a
/// second.
const PATIENCE: Duration = Duration::from_millis(500);

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
    There(Vec<RemoteCopy>),
    Here(Vec<Owned>),
}

impl Endpoint {
    /// Sends a message; false if it wasn't possible in time.
    pub(crate) fn send(&self, message: &Message<'_>, deadline: Deadline) -> Result<bool> {
        message.check()?;
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.check_not_broken()?;
        if writer.cut_off {
            return Err(Error::PartialSend { pid: self.process_id() });
        }
        if self.outgoing().taking_has_ended() {
            self.close_what_was_fetched(&mut writer);
            return Err(self.ended());
        }
        let number = writer.next;
        let Some(copies) = self.copies(message, number, &mut writer, deadline)? else { return Ok(false) };
        let written = self.write(&mut writer, deadline);
        // A large message leaves no large buffer behind.
        let buffer = writer.transfer.buffer();
        buffer.clear();
        buffer.shrink_to(MOST_KEPT);
        // What was sent before may have been fetched meanwhile, and nobody says so twice.
        self.close_what_was_fetched(&mut writer);
        match written {
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

    /// Makes the copies of a message's objects and the frame that says where they are; `None` if that takes
    /// too long.
    fn copies(
        &self,
        message: &Message<'_>,
        number: u64,
        writer: &mut Writer,
        deadline: Deadline,
    ) -> Result<Option<Copies>> {
        let what = |name: &str| format!("the object {name:?} of the message");
        let patience = deadline.or_later(PATIENCE);
        let count = message.shares.len();
        let buffer = writer.transfer.buffer();
        match &self.peer {
            Peer::Weaker(process) => {
                let mut copies = Vec::with_capacity(count);
                for (name, object) in message.objects() {
                    if patience.has_passed() {
                        return Ok(None);
                    }
                    copies.push(process.push(object, || what(name))?);
                }
                wire::write(
                    buffer,
                    number,
                    &message.table,
                    copies.iter().map(RemoteCopy::value),
                    &message.bytes,
                );
                Ok(Some(Copies::There(copies)))
            }
            Peer::Stronger(_) => {
                let mut copies = Vec::with_capacity(count);
                let mut values = Vec::with_capacity(count);
                for (name, object) in message.objects() {
                    if patience.has_passed() {
                        return Ok(None);
                    }
                    let handle = object.checked(|| what(name))?;
                    let copy = handle::duplicate_here(handle, object.rights(), false)
                        .map_err(|error| Error::on_handle(what(name), error))?;
                    values.push(HandleValue::of(&copy)?);
                    copies.push(copy);
                }
                wire::write(buffer, number, &message.table, values, &message.bytes);
                Ok(Some(Copies::Here(copies)))
            }
        }
    }

    /// The message is in the pipe: its objects are the receiver's, or will be fetched by it.
    fn sent(&self, copies: Copies, number: u64, writer: &mut Writer) -> Result<()> {
        match copies {
            Copies::There(copies) if copies.is_empty() => {}
            Copies::There(copies) => {
                // Taken back for good: what the other end reads of it afterwards, it doesn't take.
                if !self.outgoing().give(number) && !self.outgoing().cut_giving(number) {
                    // Dropping them closes them over there.
                    return Err(self.ended());
                }
                RemoteCopy::release_all(copies);
            }
            Copies::Here(copies) if copies.is_empty() => {}
            Copies::Here(copies) => writer.to_be_fetched.push_back((number, copies)),
        }
        Ok(())
    }

    /// The message isn't in the pipe, or not all of it. Its objects are ours still, and closed, unless the
    /// other end has read all of it just so, which is the answer.
    fn unsent(&self, copies: Copies, number: u64, writer: &mut Writer) -> bool {
        if !self.outgoing().cut_giving(number) {
            return false;
        }
        match copies {
            Copies::There(copies) => RemoteCopy::release_all(copies),
            Copies::Here(copies) => writer.to_be_fetched.push_back((number, copies)),
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
                error => Unwritten::Failed(self.failed()(error)),
            })?;
        }
        Ok(())
    }

    /// Waits for a write that the pipe has no room for.
    fn wait_for_write(
        &self,
        transfer: &mut Transfer,
        deadline: Deadline,
    ) -> Result<SysResult<usize>, Unwritten> {
        let mut may_read = true;
        loop {
            match self.wait_and_read(Some(transfer.done()), deadline, &mut may_read) {
                Ok(Woken::Done) => return Ok(transfer.finish()),
                Ok(Woken::Gone) => return Ok(transfer.cancel()),
                Ok(_) if deadline.has_passed() => return Ok(transfer.cancel()),
                Ok(_) => {}
                Err(error) => {
                    // The write is finished with before its buffer is used again.
                    let _ = transfer.cancel();
                    return Err(Unwritten::Failed(self.failed()(error)));
                }
            }
        }
    }

    /// Waits a while. The other end may be writing just so, and read only when it is done: so what it writes
    /// is read meanwhile, and kept for whoever receives, unless such a one waits or reads already.
    fn wait_and_read(
        &self,
        done: Option<BorrowedHandle<'_>>,
        deadline: Deadline,
        may_read: &mut bool,
    ) -> SysResult<Woken> {
        let now = Deadline::after(Duration::ZERO);
        let is_free = *may_read && !self.reader.is_wanted();
        let mut reader = if is_free { self.reader.take() } else { None };
        let beside = reader.as_mut().map(|reader| reader.begin_beside());
        let a_while = match beside {
            Some(Beside::More) => now,
            _ => deadline.or_sooner(LOOK_AGAIN),
        };
        match &mut reader {
            Some(reader) if beside == Some(Beside::UnderWay) => {
                let woken = self.wait_for(done, Some(reader.transfer.done()), a_while);
                *may_read = reader.end_beside();
                woken
            }
            _ => {
                *may_read &= beside != Some(Beside::NoMore);
                self.wait_for(done, None, a_while)
            }
        }
    }

    /// Closes the duplicates that the stronger end has its own copies of by now, and those that it never will
    /// have.
    pub(super) fn close_what_was_fetched(&self, writer: &mut Writer) {
        if writer.to_be_fetched.is_empty() {
            return;
        }
        let fetched = self.ledger().fetched();
        while writer.to_be_fetched.front().is_some_and(|(number, _)| *number < fetched) {
            writer.to_be_fetched.pop_front();
        }
        if self.outgoing().taking_has_ended() {
            let taken = self.outgoing().end_giving();
            let count = writer.to_be_fetched.len();
            writer.to_be_fetched.retain(|(number, _)| *number < taken);
            writer.lost |= writer.to_be_fetched.len() < count;
        }
    }

    /// The same, unless somebody is sending, which is the answer.
    pub(super) fn close_what_was_fetched_if_free(&self) -> bool {
        let writer = self.writer.take();
        writer.map(|mut writer| self.close_what_was_fetched(&mut writer)).is_some()
    }

    /// Waits until the other end has all objects that were sent; false if it doesn't in time.
    pub(crate) fn flush(&self, deadline: Deadline) -> Result<bool> {
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.wait_until_fetched(&mut writer, deadline)
    }

    /// Waits until the stronger end has fetched everything. It may be waiting for its own message to be read
    /// before it does, so what it writes is read meanwhile.
    pub(super) fn wait_until_fetched(&self, writer: &mut Writer, deadline: Deadline) -> Result<bool> {
        let mut may_read = true;
        let mut is_gone = false;
        loop {
            self.close_what_was_fetched(writer);
            match writer.to_be_fetched.is_empty() {
                true if !writer.lost => return Ok(true),
                false if !is_gone => {}
                _ => return Err(self.ended()),
            }
            match self.wait_and_read(None, deadline, &mut may_read) {
                // It may have fetched everything before that.
                Ok(Woken::Gone) => is_gone = true,
                Ok(_) if deadline.has_passed() && self.ledger().fetched() <= writer.to_be_fetched[0].0 => {
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) => return Err(self.failed()(error)),
            }
        }
    }
}
