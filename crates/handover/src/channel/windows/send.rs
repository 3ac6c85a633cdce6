//! Sending messages from an endpoint.

use std::os::windows::io::BorrowedHandle;
use std::time::Duration;

use super::endpoint::{Endpoint, LOOK_AGAIN, Peer, Woken, Writer};
use super::receive::SideRead;
use crate::channel::Message;
use crate::channel::wire;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::imp::RemoteCopy;
use crate::sys::io::Owned;
use crate::sys::overlapped::{Begun, Transfer};
use crate::sys::{SysResult, handle, pipe};
use crate::wait::Deadline;

/// The maximum number of bytes that one call writes. The system allocates memory for each pending write.
const MAX_WRITTEN: usize = 1024 * 1024;
/// The maximum capacity that an emptied buffer keeps.
const MAX_KEPT: usize = 64 * 1024;
/// The time past the deadline for which objects are still prepared. A handle that doesn't answer a query at once costs
/// 200 ms.
const GRACE_PERIOD: Duration = Duration::from_millis(500);

/// The reason why a write was not completed.
#[derive(Debug)]
enum Unwritten {
    TimedOut,
    /// No process reads the pipe any more.
    End,
    Failed(Error),
}

/// The duplicates of a message's objects, until the receiver owns them.
enum Copies {
    Remote(Vec<RemoteCopy>),
    Local(Vec<Owned>),
}

impl Endpoint {
    /// Sends a message. Returns false if the deadline passed first.
    pub(crate) fn send(&self, message: &Message<'_>, deadline: Deadline) -> Result<bool> {
        message.check()?;
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.check_not_broken()?;
        if writer.cut_off {
            return Err(Error::PartialSend { pid: self.process_id() });
        }
        if self.outgoing().taking_has_ended() {
            self.close_fetched(&mut writer);
            return Err(self.disconnect_error());
        }
        let number = writer.next;
        let Some(copies) = self.copies(message, number, &mut writer, deadline)? else { return Ok(false) };
        let written = self.write(&mut writer, deadline);
        // A large message must not leave a large buffer behind.
        let buffer = writer.transfer.buffer();
        buffer.clear();
        buffer.shrink_to(MAX_KEPT);
        // Objects of earlier messages may have been fetched meanwhile, and the event reports that only once.
        self.close_fetched(&mut writer);
        match written {
            Ok(()) => {
                writer.next += 1;
                self.record_sent(copies, number, &mut writer).map(|()| true)
            }
            Err(unwritten) => {
                writer.cut_off = !matches!(unwritten, Unwritten::End);
                if self.withdraw(copies, number, &mut writer) {
                    return Ok(true);
                }
                match unwritten {
                    Unwritten::TimedOut => Ok(false),
                    Unwritten::End => Err(self.disconnect_error()),
                    Unwritten::Failed(error) => Err(error),
                }
            }
        }
    }

    /// Duplicates a message's objects, and writes the frame with their handle values to the buffer. Returns `None` if
    /// that takes too long.
    fn copies(
        &self,
        message: &Message<'_>,
        number: u64,
        writer: &mut Writer,
        deadline: Deadline,
    ) -> Result<Option<Copies>> {
        let description = |name: &str| format!("the object {name:?} of the message");
        let grace_deadline = deadline.or_later(GRACE_PERIOD);
        let count = message.shares.len();
        let buffer = writer.transfer.buffer();
        match &self.peer {
            Peer::Weaker(process) => {
                let mut copies = Vec::with_capacity(count);
                for (name, object) in message.objects() {
                    if grace_deadline.has_passed() {
                        return Ok(None);
                    }
                    copies.push(process.push(object, || description(name))?);
                }
                wire::write(
                    buffer,
                    number,
                    &message.table,
                    copies.iter().map(RemoteCopy::value),
                    &message.bytes,
                );
                Ok(Some(Copies::Remote(copies)))
            }
            Peer::Stronger(_) => {
                let mut copies = Vec::with_capacity(count);
                let mut values = Vec::with_capacity(count);
                for (name, object) in message.objects() {
                    if grace_deadline.has_passed() {
                        return Ok(None);
                    }
                    let handle = object.checked(|| description(name))?;
                    let copy = handle::duplicate_here(handle, object.rights(), false)
                        .map_err(|error| Error::on_handle(description(name), error))?;
                    values.push(HandleValue::of(&copy)?);
                    copies.push(copy);
                }
                wire::write(buffer, number, &message.table, values, &message.bytes);
                Ok(Some(Copies::Local(copies)))
            }
        }
    }

    /// Records that the message is in the pipe: the receiver owns its objects, or will fetch them.
    fn record_sent(&self, copies: Copies, number: u64, writer: &mut Writer) -> Result<()> {
        match copies {
            Copies::Remote(copies) if copies.is_empty() => {}
            Copies::Remote(copies) => {
                // `cut_giving` makes the withdrawal final: if the peer reads the message later, it doesn't take the
                // objects.
                if !self.outgoing().give(number) && !self.outgoing().cut_giving(number) {
                    // Dropping the copies closes them in the peer process.
                    return Err(self.disconnect_error());
                }
                RemoteCopy::release_all(copies);
            }
            Copies::Local(copies) if copies.is_empty() => {}
            Copies::Local(copies) => writer.unfetched.push_back((number, copies)),
        }
        Ok(())
    }

    /// Withdraws a message that was not written completely. Its objects still belong to this process and are closed.
    /// Returns true if the peer has nevertheless read all of the message and taken its objects.
    fn withdraw(&self, copies: Copies, number: u64, writer: &mut Writer) -> bool {
        if !self.outgoing().cut_giving(number) {
            return false;
        }
        match copies {
            Copies::Remote(copies) => RemoteCopy::release_all(copies),
            Copies::Local(copies) => writer.unfetched.push_back((number, copies)),
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
                error if pipe::is_end(&error) => Unwritten::End,
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
        loop {
            match self.wait_and_read(Some(transfer.done()), deadline, &mut may_read) {
                Ok(Woken::Done) => return Ok(transfer.finish()),
                Ok(Woken::Exited) => return Ok(transfer.cancel()),
                Ok(_) if deadline.has_passed() => return Ok(transfer.cancel()),
                Ok(_) => {}
                Err(error) => {
                    // The write must not use its buffer any more when that is used again.
                    let _ = transfer.cancel();
                    return Err(Unwritten::Failed(self.failed()(error)));
                }
            }
        }
    }

    /// Waits for a while. The peer may be writing too, and may read only once its write is done. So this reads incoming
    /// data and keeps it for the next receive, unless another thread is receiving or waits to receive.
    fn wait_and_read(
        &self,
        done: Option<BorrowedHandle<'_>>,
        deadline: Deadline,
        may_read: &mut bool,
    ) -> SysResult<Woken> {
        let now = Deadline::after(Duration::ZERO);
        let is_free = *may_read && !self.reader.is_wanted();
        let mut reader = if is_free { self.reader.take() } else { None };
        let side_read = reader.as_mut().map(|reader| reader.begin_side_read());
        let pause_deadline = match side_read {
            Some(SideRead::More) => now,
            _ => deadline.or_sooner(LOOK_AGAIN),
        };
        match &mut reader {
            Some(reader) if side_read == Some(SideRead::UnderWay) => {
                let woken = self.wait_for(done, Some(reader.transfer.done()), pause_deadline);
                *may_read = reader.end_side_read();
                woken
            }
            _ => {
                *may_read &= side_read != Some(SideRead::NoMore);
                self.wait_for(done, None, pause_deadline)
            }
        }
    }

    /// Closes the duplicates that the stronger endpoint has fetched, and those that it never will fetch.
    pub(super) fn close_fetched(&self, writer: &mut Writer) {
        if writer.unfetched.is_empty() {
            return;
        }
        let fetched = self.page().fetched();
        while writer.unfetched.front().is_some_and(|(number, _)| *number < fetched) {
            writer.unfetched.pop_front();
        }
        if self.outgoing().taking_has_ended() {
            let taken = self.outgoing().end_giving();
            let count = writer.unfetched.len();
            writer.unfetched.retain(|(number, _)| *number < taken);
            writer.has_lost |= writer.unfetched.len() < count;
        }
    }

    /// Does the same, unless another thread is sending. Returns whether it did.
    pub(super) fn try_close_fetched(&self) -> bool {
        let writer = self.writer.take();
        writer.map(|mut writer| self.close_fetched(&mut writer)).is_some()
    }

    /// Waits until the peer has its own handles to all objects that were sent. Returns false if the deadline passed
    /// first.
    pub(crate) fn flush(&self, deadline: Deadline) -> Result<bool> {
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.wait_until_fetched(&mut writer, deadline)
    }

    /// Waits until the stronger endpoint has fetched all objects. Its process may first wait for its own message to be
    /// read, so this reads incoming data meanwhile.
    pub(super) fn wait_until_fetched(&self, writer: &mut Writer, deadline: Deadline) -> Result<bool> {
        let mut may_read = true;
        let mut has_exited = false;
        loop {
            self.close_fetched(writer);
            match writer.unfetched.is_empty() {
                true if !writer.has_lost => return Ok(true),
                false if !has_exited => {}
                _ => return Err(self.disconnect_error()),
            }
            match self.wait_and_read(None, deadline, &mut may_read) {
                // It may have fetched everything before it exited.
                Ok(Woken::Exited) => has_exited = true,
                Ok(_) if deadline.has_passed() && self.page().fetched() <= writer.unfetched[0].0 => {
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) => return Err(self.failed()(error)),
            }
        }
    }
}
