//! How a channel comes about: the stronger end makes both ends, and the weaker one finds its own.

use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;

use super::ledger::{Ledger, WORDS};
use super::link::{Link, Peer, Reader, Unopened, Writer};
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::pipe::{self, Direction};
use crate::sys::transfer::Transfer;
use crate::sys::{handle, named};
use crate::{Access, Error, HandleValue, Process, Result, SecurityDescriptor};

/// The names under which a child inherits its end: the handles that the weaker end begins with, as the stronger one
/// lists them.
pub(crate) const RESERVED: [&str; ENDS] = ["handover/pipe", "handover/ledger", "handover/fetched"];
const ENDS: usize = 3;

/// The rights to map a section for reading and writing.
const SECTION_MAP: Access = Access::from_bits_retain(0x0006);

/// A channel of which both ends are here.
#[derive(Debug)]
pub(crate) struct Opening {
    words: Words<WORDS>,
    /// What no other channel has.
    pub(super) nonce: u64,
    reader: Reader,
    writer: Writer,
    section: Owned,
    fetched: Owned,
    theirs: Owned,
}

fn failed(call: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::system(call, "a channel".into(), source)
}

/// The events that say when a read and when a write is done.
fn events() -> Result<[Owned; 2]> {
    let event = || named::event(true).map_err(failed("CreateEventW"));
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

impl Opening {
    pub(crate) fn new() -> Result<Self> {
        let (ours, theirs) =
            pipe::pair(Direction::Both, Some(SecurityDescriptor::current_user()?.protection()))
                .map_err(|(call, source)| failed(call)(source))?;
        let (reader, writer) = transfers(ours, events()?);
        let (section, words) = Words::create().map_err(failed("CreateFileMappingW"))?;
        let nonce = nonce();
        Ledger(words.words()).open(Process::current_identity()?, nonce);
        let fetched = named::event(false).map_err(failed("CreateEventW"))?;
        Ok(Self { words, nonce, reader, writer, section, fetched, theirs })
    }

    /// What the weaker end needs, with the least access.
    pub(crate) fn ends(&self) -> [(BorrowedHandle<'_>, Option<Access>); ENDS] {
        [
            (self.theirs.as_handle(), None),
            (self.section.as_handle(), Some(SECTION_MAP)),
            (self.fetched.as_handle(), Some(Access::SYNCHRONIZE)),
        ]
    }

    pub(super) fn ledger(&self) -> Ledger<'_> {
        Ledger(self.words.words())
    }

    /// The stronger end. The other is the process's, and closed here.
    pub(crate) fn into_link(self, weaker: Process) -> Link {
        let Self { words, reader, writer, fetched, .. } = self;
        Link::new(Peer::Weaker(weaker), words, fetched, reader, writer)
    }
}

/// A child's end, from the handles that its parent has handed down.
pub(crate) fn end_of_child(values: [HandleValue; ENDS]) -> Result<Link> {
    weaker_end(values, None)
}

/// The weaker end, from the handles that the stronger one has made for this process under these values.
///
/// They become this process's when the ledger says so, and are left alone before that.
///
/// `listener` is the process that told the values, and the number that goes with them; a parent needs none.
pub(super) fn weaker_end(values: [HandleValue; ENDS], listener: Option<(u32, u64)>) -> Result<Link> {
    let [pipe, section, fetched] = values;
    let words = Words::<WORDS>::view_of(section).map_err(failed("MapViewOfFile"))?;
    let ledger = Ledger(words.words());
    let wrong = |process, why| Error::Protocol { process, why };
    let Some(stronger) = ledger.stronger() else {
        let id = listener.map_or(0, |(id, _)| id);
        return Err(wrong(id, "the channel is of another version of this crate"));
    };
    if let Some((id, nonce)) = listener {
        if (id, nonce) != (stronger.id, ledger.nonce()) {
            return Err(wrong(id, "the channel is another one"));
        }
    }
    let peer = match Process::open_identified(stronger) {
        Ok(process) => Ok(process),
        // What it sent before it ended can still be received. One that mustn't be opened ends with the pipe.
        Err(Error::PeerGone { .. }) => Err(Unopened { id: stronger.id, has_ended: true }),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Unopened { id: stronger.id, has_ended: false })
        }
        Err(other) => return Err(other),
    };
    let events = events()?;
    // From here on nothing fails.
    if !ledger.take_end() {
        return Err(Error::Refused { process: stronger.id });
    }
    let [pipe, _section, fetched] = [pipe, section, fetched].map(handle::own);
    let (reader, writer) = transfers(pipe, events);
    Ok(Link::new(Peer::Stronger(peer), words, fetched, reader, writer))
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
