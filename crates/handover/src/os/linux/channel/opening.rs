//! How a channel comes about: the stronger end makes both ends, and the weaker one finds its own.

use std::os::fd::{AsFd, BorrowedFd};

use super::link::{Link, Peer, prepare};
use crate::sys::io::Owned;
use crate::sys::{handle, stream};
use crate::{Error, HandleValue, Process, Result};

/// The name under which a child inherits its end.
pub(crate) const RESERVED: [&str; 1] = ["handover/channel"];

/// A channel of which both ends are here.
#[derive(Debug)]
pub(crate) struct Opening {
    ours: Owned,
    theirs: Owned,
}

fn failed(call: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::system(call, "a channel".into(), source)
}

impl Opening {
    pub(crate) fn new() -> Result<Self> {
        let (ours, theirs) = stream::pair().map_err(failed("socketpair"))?;
        prepare(ours.as_fd()).map_err(failed("setsockopt"))?;
        Ok(Self { ours, theirs })
    }

    /// What the weaker end needs.
    pub(crate) fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// The stronger end. The other is the process's, and closed here.
    pub(crate) fn into_link(self, weaker: Process) -> Link {
        Link::new(self.ours, Peer::Known(weaker))
    }
}

/// A child's end, from the socket that its parent has handed down, and which becomes this process's if nothing fails.
pub(crate) fn end_of_child([value]: [HandleValue; 1]) -> Result<Link> {
    let maker = handle::with_borrowed(value, stream::maker_of_other_end);
    let maker = maker.map_err(failed("getsockopt"))?;
    handle::with_borrowed(value, prepare).map_err(failed("setsockopt"))?;
    // Nothing fails from here on.
    Ok(Link::new(handle::own(value), peer(maker)))
}

/// Who has the other end, as far as it can be held.
pub(super) fn peer(maker: stream::Maker) -> Peer {
    match maker.process {
        Some(process) => Peer::Known(Process::new(process, maker.id)),
        None => Peer::Ended(maker.id),
    }
}
