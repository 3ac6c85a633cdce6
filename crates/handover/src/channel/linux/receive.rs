//! Receiving messages from an endpoint.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, LOOK_AGAIN, WAIT};
use super::recv_buffer::{BufferedMessage, Reader};
use crate::channel::ReceivedMessage;
use crate::channel::message::Sender;
use crate::error::{Error, ProcessName, Result};
use crate::process::Process;
use crate::sys::unix_socket::{self, Look};
use crate::wait::Deadline;

/// The maximum time between the moment at which a process that is exiting closes its endpoint and its exit.
const EXIT_TIME: Duration = Duration::from_millis(250);

/// The outcome of one attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Some,
    Nothing,
    /// End of file: no process can write any more.
    End,
}

impl Endpoint {
    /// Receives the next message, or returns `None` at the deadline.
    pub(crate) fn receive(&self, time: Duration) -> Result<Option<ReceivedMessage>> {
        let deadline = Deadline::after(time);
        // A send that waits for buffer space holds the reader and releases it within this time.
        let Some(mut reader) = self.reader.wait_at_least(2 * LOOK_AGAIN, deadline) else { return Ok(None) };
        let mut has_exited = false;
        // One blocking call costs half as much as a poll and a read. But it can't notice that the peer process has
        // exited while another process keeps its endpoint open. So only the first call blocks, and only for a short
        // time.
        let mut look = if deadline.left() >= WAIT { Look::Wait } else { Look::Once };
        let mut has_read = false;
        loop {
            self.check_not_broken()?;
            if let Some(message) = self.next_message(&mut reader)? {
                return self.received_message(message).map(Some);
            }
            // A peer that sends single bytes must not extend the wait past the deadline.
            if has_read && deadline.has_passed() {
                return Ok(None);
            }
            match self.read(&mut reader, look)? {
                Read::Some => {
                    (has_read, look) = (true, Look::Once);
                    continue;
                }
                Read::End => return Err(self.error_at_end_of_file(&mut reader)),
                // All data that a process wrote before its exit is readable by now, so finding nothing means end of
                // file.
                Read::Nothing if has_exited => return Err(self.error_at_end_of_file(&mut reader)),
                Read::Nothing if deadline.has_passed() => return Ok(None),
                Read::Nothing => {}
            }
            look = Look::Once;
            has_exited = self.wait_for(unix_socket::READABLE, deadline)?.gone;
        }
    }

    fn next_message(&self, reader: &mut Reader) -> Result<Option<BufferedMessage>> {
        reader.next_message().map_err(|reason| {
            reader.give_up();
            self.protocol_error(reason)
        })
    }

    fn error_at_end_of_file(&self, reader: &mut Reader) -> Error {
        let is_partial = !reader.unread().is_empty();
        reader.give_up();
        // A process that exits in the middle of a message breaks no rule. Neither does one whose send timed out and
        // that exits because of it; its exit takes a moment.
        let exits = |process: &Process| process.ends_within(EXIT_TIME).unwrap_or(false);
        if is_partial && !self.process().is_none_or(exits) {
            return self.protocol_error("the last message is cut off");
        }
        self.disconnect_error()
    }

    fn received_message(&self, message: BufferedMessage) -> Result<ReceivedMessage> {
        let Some(descriptors) = message.descriptors else {
            let context = format!(
                "a message from {}, whose objects found no free descriptor, so it is lost (close descriptors, or raise \
                 RLIMIT_NOFILE)",
                ProcessName(self.process_id())
            );
            let source = std::io::Error::from_raw_os_error(libc::EMFILE);
            return Err(Error::System { call: "recvmsg", context, source });
        };
        let from = Sender { process: self.process_id(), allowed: Arc::clone(&self.allowed) };
        Ok(ReceivedMessage::new(message.content, descriptors, from))
    }

    /// Reads the available data into the buffer.
    pub(super) fn read(&self, reader: &mut Reader, look: Look) -> Result<Read> {
        match reader.read(|buffer, max| unix_socket::receive(self.socket.as_fd(), buffer, max, look)) {
            Ok(Some(0)) => Ok(Read::End),
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
