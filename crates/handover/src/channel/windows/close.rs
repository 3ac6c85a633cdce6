//! Closing an endpoint, so that each object in transit has exactly one owner, or is closed.

use std::os::windows::io::AsHandle;
use std::time::Duration;

use super::endpoint::{Endpoint, Peer};
use super::receive::Read;
use crate::error::Error;
use crate::sys::create_object;
use crate::wait::Deadline;

/// The maximum time that dropping a weaker endpoint waits for the stronger one to fetch objects.
const MAX_LINGER: Duration = Duration::from_secs(10);
/// The maximum time to finish a fetch that has begun.
const MAX_FETCH: Duration = Duration::from_secs(1);

impl Drop for Endpoint {
    fn drop(&mut self) {
        match &self.peer {
            Peer::Weaker(_) => {
                // Only the page needs an update. Pushed objects have been given away or closed already. Objects that
                // were not pulled belong to the weaker endpoint.
                self.incoming().end_taking();
                let _ = create_object::set_event(self.fetched.as_handle());
            }
            Peer::Stronger(_) => {
                self.close_unfetched();
                self.close_unreceived();
            }
        }
    }
}

impl Endpoint {
    /// Closes the weaker endpoint's duplicates, once they have been fetched or can't be fetched any more.
    fn close_unfetched(&self) {
        let Some(mut writer) = self.writer.wait(Deadline::NEVER) else { return };
        // The errors mean that the peer process has exited or closed its endpoint, so nothing more will be fetched.
        let _ = self.wait_until_fetched(&mut writer, Deadline::after(MAX_LINGER));
        let taken = self.outgoing().end_giving();
        // Objects that the stronger endpoint has not begun to fetch belong to this process alone.
        writer.unfetched.retain(|(number, _)| *number < taken);
        if self.has_stronger_exited() {
            return;
        }
        if let Ok(false) = self.wait_until_fetched(&mut writer, Deadline::after(MAX_FETCH)) {
            // The stronger endpoint stopped responding in the middle of a fetch. The handles leak on purpose: if they
            // were closed and their values reused, it could fetch unrelated objects.
            std::mem::forget(std::mem::take(&mut writer.unfetched));
        }
    }

    /// Reads and closes the objects that the stronger endpoint has given to this one. If the stronger process has
    /// exited, this also closes the objects that it had no time to give away, because no other process can close them.
    fn close_unreceived(&self) {
        let given = self.incoming().end_taking();
        let Some(mut reader) = self.reader.wait(Deadline::NEVER) else { return };
        let is_sole_owner = self.has_stronger_exited();
        while self.broken.get().is_none() && (reader.next < given || is_sole_owner) {
            // A message is written to the pipe completely before its objects are given away, so these reads don't wait.
            match self.next_message(&mut reader) {
                Ok(Some(received)) => drop(received),
                Err(Error::KindNotAllowed { .. }) => {}
                Ok(None) => match self.read(&mut reader, Deadline::after(MAX_FETCH)) {
                    Ok(Read::Enough | Read::Some) => {}
                    _ => return,
                },
                Err(_) => return,
            }
        }
    }

    fn has_stronger_exited(&self) -> bool {
        match &self.peer {
            Peer::Weaker(_) => false,
            Peer::Stronger(Ok(process)) => process.has_exited().unwrap_or(false),
            Peer::Stronger(Err(unopened)) => unopened.has_exited,
        }
    }
}
