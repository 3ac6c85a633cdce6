//! `Pair`: creates both endpoints of a channel, and opens the weaker endpoint.

use std::any::Any;
use std::os::windows::io::{AsHandle, BorrowedHandle};

use super::endpoint::{Connection, Endpoint};
use super::ownership_page::{OwnershipPage, WORDS};
use super::peer::{Peer, Unopened};
use crate::channel::Channel;
use crate::channel::wire::VERSION;
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue};
use crate::inherit::Reserved;
use crate::name::SecurityDescriptor;
use crate::object::BorrowedObject;
use crate::process::{Attachment, Process};
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::pipe::{self, Direction};
use crate::sys::rights::Rights;
use crate::sys::{SysError, create_object};

/// The names under which a child inherits the handles of its endpoint. Every list of these handles has this order.
pub(crate) const RESERVED: [&str; HANDLES] = ["handover/pipe", "handover/page", "handover/fetched"];
pub(super) const HANDLES: usize = 3;

/// The index of the section with the ownership page.
pub(super) const SECTION: usize = 1;

/// The rights to map a section for reading and writing.
pub(super) const SECTION_MAP: Access = Access::from_bits_retain(0x0006);

/// A channel whose endpoints are both still in this process.
#[derive(Debug)]
pub(crate) struct Pair {
    page_memory: Words<WORDS>,
    /// A number that identifies this channel.
    pub(super) nonce: u64,
    connection: Connection,
    section: Owned,
    fetched: Owned,
    weaker_pipe: Owned,
}

fn failed(error: SysError) -> Error {
    Error::system("a channel", error)
}

/// Creates the events of an endpoint.
pub(super) fn events() -> Result<[Owned; 2]> {
    let event = || create_object::event(true).map_err(failed);
    Ok([event()?, event()?])
}

pub(super) fn nonce() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

impl Pair {
    pub(crate) fn new() -> Result<Self> {
        let (stronger_pipe, weaker_pipe) =
            pipe::pair(Direction::Both, Some(SecurityDescriptor::current_user()?.protection()))
                .map_err(failed)?;
        let connection = Connection::new(stronger_pipe, events()?);
        let (section, page_memory) = Words::create().map_err(failed)?;
        let nonce = nonce();
        OwnershipPage(page_memory.words()).initialize(Process::current_identity()?, nonce);
        let fetched = create_object::event(false).map_err(failed)?;
        Ok(Self { page_memory, nonce, connection, section, fetched, weaker_pipe })
    }

    /// Returns the handles that the weaker endpoint needs, each with the least access.
    pub(super) fn weaker_handles(&self) -> [(BorrowedHandle<'_>, Rights); HANDLES] {
        [
            (self.weaker_pipe.as_handle(), None),
            (self.section.as_handle(), Some(SECTION_MAP)),
            (self.fetched.as_handle(), Some(Access::SYNCHRONIZE)),
        ]
    }

    pub(super) fn page(&self) -> OwnershipPage<'_> {
        OwnershipPage(self.page_memory.words())
    }

    /// Returns the stronger endpoint. Closes this process's handles to the weaker one, which the weaker process has by
    /// now.
    pub(crate) fn into_endpoint(self, weaker: Process) -> Endpoint {
        let Self { page_memory, connection, fetched, .. } = self;
        Endpoint::new(Peer::Weaker(weaker), page_memory, fetched, connection, None)
    }
}

impl Attachment for Pair {
    fn handles(&self) -> Vec<(String, BorrowedObject<'_>)> {
        let object = |(handle, rights)| BorrowedObject::typed(handle, rights);
        RESERVED.map(str::to_owned).into_iter().zip(self.weaker_handles().map(object)).collect()
    }

    fn attach(self: Box<Self>, child: &Process) -> Option<Box<dyn Any + Send + Sync>> {
        Some(Box::new(Channel::new(self.into_endpoint(child.clone()))))
    }
}

/// Opens a child's endpoint, from the handles that its parent passed. After an error it can be tried again.
pub(crate) fn endpoint_of_child(handles: Reserved<HANDLES>) -> Result<Endpoint> {
    let section = HandleValue::of(&handles.handles()[SECTION])?;
    weaker_endpoint(section, None, || handles.into_handles())
}

/// Opens the weaker endpoint, from the handles that the stronger process made for this process.
///
/// `section` is the handle value of the section with the ownership page. `own` returns owners of all handles. It is
/// called only after the page has recorded that the handles belong to this process. If an error comes first, `own`
/// isn't called, and the stronger process closes the handles.
///
/// `listener` is the process that sent the values, and the nonce that it sent with them. A parent needs no such check.
pub(super) fn weaker_endpoint(
    section: HandleValue,
    listener: Option<(u32, u64)>,
    own: impl FnOnce() -> [Owned; HANDLES],
) -> Result<Endpoint> {
    let page_memory = Words::<WORDS>::of_section(section).map_err(failed)?;
    let page = OwnershipPage(page_memory.words());
    let protocol_error = |process, reason| Error::Protocol { pid: process, reason };
    let Some(stronger) = page.stronger() else {
        let id = listener.map_or(0, |(id, _)| id);
        let theirs = page.version().and_then(|version| u32::try_from(version).ok());
        return Err(match theirs {
            Some(theirs) => Error::IncompatibleVersion { ours: VERSION.into(), theirs },
            None => protocol_error(id, "the channel's section has other contents"),
        });
    };
    if let Some((id, nonce)) = listener {
        if (id, nonce) != (stronger.id, page.nonce()) {
            return Err(protocol_error(id, "the handle values belong to another channel"));
        }
    }
    let peer = match Process::open_exact(stronger) {
        Ok(process) => Ok(process),
        // Messages that it sent before its exit can still be received. The exit of a process that may not be opened
        // shows as the end of the pipe.
        Err(Error::ProcessExited { .. }) => Err(Unopened { id: stronger.id, has_exited: true }),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Unopened { id: stronger.id, has_exited: false })
        }
        Err(other) => return Err(other),
    };
    let events = events()?;
    // Nothing after this call can fail.
    if !page.take_endpoint() {
        return Err(Error::ConnectionRefused { pid: stronger.id });
    }
    let [pipe, _section, fetched] = own();
    let connection = Connection::new(pipe, events);
    Ok(Endpoint::new(Peer::Stronger(peer), page_memory, fetched, connection, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ() {
        let nonces: std::collections::BTreeSet<u64> = (0..8).map(|_| nonce()).collect();
        assert_eq!(nonces.len(), 8);
    }
}
