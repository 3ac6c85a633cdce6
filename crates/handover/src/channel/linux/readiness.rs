//! `Readiness`: one descriptor that is readable while an endpoint or a listener has something to return.
//!
//! It is an epoll descriptor. Its members are the socket, the peer process, whose exit the socket doesn't show while
//! another process has the peer's endpoint, and an eventfd for data that this process has already read from the socket.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use crate::sys::create_object::{self, What};
use crate::sys::io::Owned;
use crate::sys::{SysResult, epoll, wait};
use crate::wait::Deadline;

const SOCKET: u64 = 0;
const PROCESS: u64 = 1;
const KEPT: u64 = 2;
/// The number of members.
const MEMBERS: usize = 3;

#[derive(Debug)]
pub(super) struct Readiness {
    epoll: Owned,
    /// An event that is set while this process keeps something that it has read.
    kept: Owned,
}

/// The outcome of a wait to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// The socket, or data that was read from it before.
    pub(crate) input: bool,
    /// The peer process has exited.
    pub(crate) exit: bool,
}

impl Readiness {
    /// Returns the readiness in `cell`, and creates it at the first call.
    pub(super) fn of<'a>(
        cell: &'a OnceLock<Self>,
        socket: BorrowedFd<'_>,
        process: Option<BorrowedFd<'_>>,
    ) -> SysResult<&'a Self> {
        if cell.get().is_none() {
            // If another thread was faster, its own is used.
            let _ = cell.set(Self::new(socket, process)?);
        }
        Ok(cell.get().expect("it is set"))
    }

    fn new(socket: BorrowedFd<'_>, process: Option<BorrowedFd<'_>>) -> SysResult<Self> {
        let readiness = Self {
            epoll: epoll::create()?,
            kept: create_object::create(What::Event { manual_reset: true })?,
        };
        let add = |descriptor, key| epoll::add(readiness.epoll.as_fd(), descriptor, key);
        add(socket, SOCKET)?;
        process.map_or(Ok(()), |process| add(process, PROCESS))?;
        add(readiness.kept.as_fd(), KEPT)?;
        Ok(readiness)
    }

    /// Watches another peer process than before.
    pub(super) fn replace_process(
        &self,
        before: Option<BorrowedFd<'_>>,
        process: Option<BorrowedFd<'_>>,
    ) -> SysResult<()> {
        if let Some(before) = before {
            epoll::remove(self.epoll.as_fd(), before);
        }
        process.map_or(Ok(()), |process| epoll::add(self.epoll.as_fd(), process, PROCESS))
    }

    /// Says whether this process keeps something that it has read.
    pub(super) fn set_kept(&self, is_kept: bool) -> SysResult<()> {
        if is_kept {
            create_object::set_event(self.kept.as_fd())
        } else {
            wait::take(self.kept.as_fd()).map(drop)
        }
    }

    /// Waits until something is ready, or until the deadline.
    pub(super) fn wait(&self, deadline: Deadline) -> SysResult<Found> {
        let mut found = Found::default();
        let mut room: epoll::Room<MEMBERS> = [MaybeUninit::uninit(); MEMBERS];
        for key in epoll::wait(self.epoll.as_fd(), &mut room, deadline.timeout())?.keys() {
            match key {
                PROCESS => found.exit = true,
                _ => found.input = true,
            }
        }
        Ok(found)
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
