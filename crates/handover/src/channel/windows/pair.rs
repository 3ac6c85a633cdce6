//! How a channel comes about: the stronger end makes both ends, and the weaker one finds its own.

use std::any::Any;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;

use super::endpoint::{Endpoint, Peer, Reader, Unopened, Writer};
use super::ownership_page::{OwnershipPage, WORDS};
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue};
use crate::inherit::Reserved;
use crate::name::SecurityDescriptor;
use crate::object::BorrowedObject;
use crate::process::{Attachment, Process};
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::overlapped::Transfer;
use crate::sys::pipe::{self, Direction};
use crate::sys::rights::Rights;
use crate::sys::{SysError, create_object};

/// The names under which a child inherits the handles of its endpoint. Every list of these handles has this
/// order.
pub(crate) const RESERVED: [&str; HANDLES] = ["handover/pipe", "handover/ledger", "handover/fetched"];
const HANDLES: usize = 3;

/// The index of the section with the ownership page.
pub(super) const SECTION: usize = 1;

/// The rights to map a section for reading and writing.
const SECTION_MAP: Access = Access::from_bits_retain(0x0006);

/// A channel of which both ends are here.
#[derive(Debug)]
pub(crate) struct Pair {
    words: Words<WORDS>,
    /// What no other channel has.
    pub(super) nonce: u64,
    reader: Reader,
    writer: Writer,
    section: Owned,
    fetched: Owned,
    theirs: Owned,
}

fn failed(error: SysError) -> Error {
    Error::system("a channel", error)
}

/// The events that say when a read and when a write is done.
fn events() -> Result<[Owned; 2]> {
    let event = || create_object::event(true).map_err(failed);
    Ok([event()?, event()?])
}

fn nonce() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

fn transfers(pipe: Owned, [read, written]: [Owned; 2]) -> (Reader, Writer) {
    let pipe = Arc::new(pipe);
    (Reader::new(Transfer::new(Arc::clone(&pipe), read)), Writer::new(Transfer::new(pipe, written)))
}

impl Pair {
    pub(crate) fn new() -> Result<Self> {
        let (ours, theirs) =
            pipe::pair(Direction::Both, Some(SecurityDescriptor::current_user()?.protection()))
                .map_err(failed)?;
        let (reader, writer) = transfers(ours, events()?);
        let (section, words) = Words::create().map_err(failed)?;
        let nonce = nonce();
        OwnershipPage(words.words()).open(Process::current_identity()?, nonce);
        let fetched = create_object::event(false).map_err(failed)?;
        Ok(Self { words, nonce, reader, writer, section, fetched, theirs })
    }

    /// The handles that the weaker endpoint needs, with the least access.
    pub(super) fn weaker_handles(&self) -> [(BorrowedHandle<'_>, Rights); HANDLES] {
        [
            (self.theirs.as_handle(), None),
            (self.section.as_handle(), Some(SECTION_MAP)),
            (self.fetched.as_handle(), Some(Access::SYNCHRONIZE)),
        ]
    }

    pub(super) fn ledger(&self) -> OwnershipPage<'_> {
        OwnershipPage(self.words.words())
    }

    /// The stronger end. The other is the process's, and closed here.
    pub(crate) fn into_link(self, weaker: Process) -> Endpoint {
        let Self { words, reader, writer, fetched, .. } = self;
        Endpoint::new(Peer::Weaker(weaker), words, fetched, reader, writer)
    }
}

impl Attachment for Pair {
    fn handles(&self) -> Vec<(&'static str, BorrowedObject<'_>)> {
        let object = |(handle, rights)| BorrowedObject::typed(handle, rights);
        RESERVED.into_iter().zip(self.weaker_handles().map(object)).collect()
    }

    fn attach(self: Box<Self>, child: &Process) -> Box<dyn Any + Send + Sync> {
        Box::new(Channel::new(self.into_link(child.clone())))
    }
}

/// A child's endpoint, from the handles that its parent passed. After an error it can be tried again.
pub(crate) fn end_of_child(handles: Reserved<HANDLES>) -> Result<Endpoint> {
    let section = HandleValue::of(&handles.handles()[SECTION])?;
    weaker_end(section, None, || handles.into_handles())
}

/// The weaker endpoint, from the handles that the stronger one made for this process.
///
/// `section` is the value of the one with the ownership page. `own` returns the owners of all. It is called
/// once the page says that the handles are this process's, and not if an error comes first: whoever made them
/// closes them then.
///
/// `listener` is the process that told the values, and the number that goes with them; a parent needs none.
pub(super) fn weaker_end(
    section: HandleValue,
    listener: Option<(u32, u64)>,
    own: impl FnOnce() -> [Owned; HANDLES],
) -> Result<Endpoint> {
    let words = Words::<WORDS>::of_section(section).map_err(failed)?;
    let ledger = OwnershipPage(words.words());
    let wrong = |process, why| Error::Protocol { pid: process, reason: why };
    let Some(stronger) = ledger.stronger() else {
        let id = listener.map_or(0, |(id, _)| id);
        return Err(wrong(id, "the channel is of another version of this crate"));
    };
    if let Some((id, nonce)) = listener {
        if (id, nonce) != (stronger.id, ledger.nonce()) {
            return Err(wrong(id, "the channel is another one"));
        }
    }
    let peer = match Process::open_exact(stronger) {
        Ok(process) => Ok(process),
        // What it sent before it ended can still be received. One that mustn't be opened ends with the pipe.
        Err(Error::ProcessExited { .. }) => Err(Unopened { id: stronger.id, has_exited: true }),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Unopened { id: stronger.id, has_exited: false })
        }
        Err(other) => return Err(other),
    };
    let events = events()?;
    // From here on nothing fails.
    if !ledger.take_end() {
        return Err(Error::ConnectionRefused { pid: stronger.id });
    }
    let [pipe, _section, fetched] = own();
    let (reader, writer) = transfers(pipe, events);
    Ok(Endpoint::new(Peer::Stronger(peer), words, fetched, reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_nothing_to_foresee() {
        let nonces: std::collections::BTreeSet<u64> = (0..8).map(|_| nonce()).collect();
        assert_eq!(nonces.len(), 8);
    }
}
