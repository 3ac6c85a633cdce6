//! `Pair`: creates both endpoints of a channel to a child.

use std::any::Any;
use std::os::fd::AsFd;

use super::endpoint::{Endpoint, Peer};
use super::peers;
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::object::BorrowedObject;
use crate::process::{Attachment, Process};
use crate::sys::SysError;
use crate::sys::io::Owned;
use crate::sys::unix_socket;

/// The name under which a child inherits its endpoint.
pub(crate) const RESERVED: [&str; 1] = ["handover/channel"];

/// A channel whose endpoints are both still in this process.
#[derive(Debug)]
pub(crate) struct Pair {
    ours: Owned,
    theirs: Owned,
}

fn failed(error: SysError) -> Error {
    Error::system("a channel", error)
}

impl Pair {
    pub(crate) fn new() -> Result<Self> {
        let (ours, theirs) = unix_socket::pair().map_err(failed)?;
        Ok(Self { ours, theirs })
    }
}

impl Attachment for Pair {
    fn handles(&self) -> Vec<(String, BorrowedObject<'_>)> {
        vec![(RESERVED[0].to_owned(), self.theirs.as_fd().into())]
    }

    fn attach(self: Box<Self>, child: &Process) -> Option<Box<dyn Any + Send + Sync>> {
        Some(Box::new(Channel::new(Endpoint::new(self.ours.into(), Peer::Known(child.clone())))))
    }
}

/// Returns the process at the other endpoint, with a pidfd if it could be opened.
pub(super) fn peer(maker: unix_socket::Maker) -> Peer {
    match maker.process {
        Some(process) => Peer::Known(peers::process(process.into(), maker.id)),
        None => Peer::Unopened { id: maker.id, has_exited: maker.has_exited },
    }
}
