//! Gives descriptors to the children of std's `Command`.
//!
//! std's `Command` forks, and in the new process sets up the standard streams, the user and the current directory. Then it
//! runs the closures that were added with `pre_exec`, in their order, and executes the program. Each step of this module
//! is such a closure. It owns a descriptor of this process that is always close-on-exec here, and only in the new process
//! makes it inheritable, or replaces it by one that is. So no other child of this process can get it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::child_call::{Call, Failure, checked, fcntl};
use super::child_exec::place;
use super::close_at_exec::close_the_rest_at_exec;
use super::handle::{NullAccess, duplicate_at, move_to, open_null};
use super::io::{HasHandle, Owned};
use super::rights::Rights;
use super::unix_socket;
use super::{SysError, SysResult, recipient};

/// The lowest number that a step's descriptor gets, if that is free. Programs that expect descriptors at fixed numbers,
/// and libraries that put them there, use the first few numbers after those of the streams.
const LOWEST: RawFd = 32;

/// Something to do in each new process of a command, before it executes its program.
#[derive(Debug)]
pub(crate) enum Step {
    /// Passes the descriptor on.
    Pass(Owned),
    /// Passes on the descriptor that waits in this socket, under the number of the socket. It is gone then, so the step
    /// succeeds in one process only.
    PassContent(Owned),
    /// Replaces the descriptor by a proof that the process is the recipient of the list with this number.
    Prove(Owned, u128),
    /// Passes on no descriptors except the standard streams, these, and those of later steps.
    CloseOthers(Vec<RawFd>),
}

impl Step {
    /// Makes a step that passes on a duplicate of the descriptor.
    pub(crate) fn pass(handle: BorrowedFd<'_>, rights: Rights) -> SysResult<Self> {
        duplicate_at(handle, rights, LOWEST).map(Self::Pass)
    }

    /// Makes a step that passes on the descriptor itself, which no longer belongs to this process: it waits in a socket,
    /// from which the first new process takes it. It is closed if the step is dropped before.
    pub(crate) fn pass_away(handle: &Owned) -> SysResult<Self> {
        let (waiting, sender) = unix_socket::pair()?;
        let waiting = move_to(waiting, LOWEST)?;
        match unix_socket::send(sender.handle(), b"1", &[handle.handle()])? {
            Some(1) => Ok(Self::PassContent(waiting)),
            _ => Err(SysError::unexpected("sendmsg", "a new socket has no room")),
        }
    }

    /// Makes a step that proves to a new process that it is the recipient of the list with this number.
    pub(crate) fn prove(nonce: u128) -> SysResult<Self> {
        let placeholder = open_null(NullAccess::Read)?;
        move_to(placeholder, LOWEST).map(|placeholder| Self::Prove(placeholder, nonce))
    }

    /// Returns the descriptor of this process that has the number which a new process will have for the object.
    pub(crate) fn handle(&self) -> Option<&Owned> {
        match self {
            Self::Pass(handle) | Self::PassContent(handle) | Self::Prove(handle, _) => Some(handle),
            Self::CloseOthers(_) => None,
        }
    }

    /// Adds the step to those that the command already has. The command owns it.
    pub(crate) fn add_to(self, command: &mut Command) {
        let run = move || self.run().map_err(|failure| io::Error::from_raw_os_error(failure.code));
        // SAFETY: the closure runs between fork and `execve`, where other threads of the parent may have held locks. By the
        // rules of `child_exec`, `run` makes system calls that are safe there, allocates nothing, takes no lock and can't
        // panic; an error made of a code allocates nothing either. It changes the table of the process in which it runs
        // only where the step owns the descriptor, except that it may mark others close-on-exec. So a descriptor's owner
        // never loses it, even where std runs the closure without a fork (`CommandExt::exec`).
        unsafe { command.pre_exec(run) };
    }

    /// Takes the step. It runs in the new process, by the rules of `super::child_exec`: no allocation, no lock, no panic.
    fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Pass(handle) => make_inheritable(handle.as_raw_fd()),
            Self::PassContent(waiting) => take_out(waiting.handle()),
            Self::Prove(placeholder, nonce) => recipient::prove(placeholder.handle(), *nonce),
            Self::CloseOthers(listed) => {
                close_the_rest_at_exec()?;
                listed.iter().try_for_each(|number| make_inheritable(*number))
            }
        }
    }
}

fn make_inheritable(number: RawFd) -> Result<(), Failure> {
    fcntl(number, libc::F_SETFD, 0).map(drop)
}

/// Replaces a socket by the descriptor that waits in it, which is inheritable then.
fn take_out(waiting: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let (mut byte, mut length) = ([0], 0);
    checked(Call::RecvMsg, || {
        let mut parts = [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        length = recvmsg(waiting, &mut parts, &mut control, flags)?.bytes;
        Ok(())
    })?;
    let content: Option<OwnedFd> = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match content {
        Some(content) => place(content.as_raw_fd(), waiting.as_raw_fd()),
        // An earlier process has taken it.
        None if length == 0 => Err(Failure::new(Call::RecvMsg, libc::EBUSY)),
        None => Err(Failure::new(Call::RecvMsg, libc::EMFILE)),
    }
}
