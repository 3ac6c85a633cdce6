//! The proof by which a process finds out that its parent passed it the descriptors that a list names, when the parent
//! doesn't know its id beforehand.
//!
//! The new process itself creates a pair of sockets before it executes its program, and keeps one of them. The kernel
//! notes for it which process created the pair (`SO_PEERCRED`). No other process can be noted there, so the proof fails
//! in a child of that process, even if the child got the environment and the socket too. The socket also holds a number
//! that the list has, so that another pair of the process isn't taken for it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

use super::child_call::{Call, Failure, checked};
use super::child_exec::place;
use super::handle::{raw, to};
use super::{Outcome, SysResult, ask};
use crate::handle::HandleValue;

/// The length of the number in bytes.
const LENGTH: usize = size_of::<u128>();

/// The content of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient {
    /// The process that created the proof, by its id in this process's PID namespace.
    pub(crate) process: u32,
    /// The number that the list has too.
    pub(crate) nonce: u128,
}

impl Outcome for Recipient {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "process {}", self.process)
    }
}

/// Replaces a descriptor of a new process by a proof that is inheritable. It runs in the new process, by the rules of
/// `super::child_exec`: no allocation, no lock, no panic.
pub(super) fn prove(placeholder: BorrowedFd<'_>, nonce: u128) -> Result<(), Failure> {
    let mut pair = None;
    checked(Call::SocketPair, || {
        pair = Some(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?);
        Ok(())
    })?;
    // It exists, because the call succeeded.
    let Some((proof, other)) = pair else { return Err(Failure::new(Call::SocketPair, libc::EINVAL)) };
    checked(Call::SendTo, || send(&other, &nonce.to_le_bytes(), SendFlags::NOSIGNAL).map(drop))?;
    place(proof.as_raw_fd(), placeholder.as_raw_fd())
}

/// Returns the proof under a number. Returns `None` if no proof is there: then the number is another object's, or isn't
/// open. The proof stays as it is.
pub(crate) fn find(value: HandleValue) -> SysResult<Option<Recipient>> {
    ask("recvfrom", &[("handle", value.into()), to("MSG_PEEK"), to("SO_PEERCRED")], || {
        // One byte more, so that a longer content isn't taken for a proof.
        let mut content = [0; LENGTH + 1];
        // SAFETY: the pointer and the length describe a live, writable array. The kernel checks the descriptor's number.
        // The call neither waits nor takes bytes away from any kind of descriptor.
        let length = unsafe {
            libc::recv(
                raw(value),
                content.as_mut_ptr().cast(),
                content.len(),
                libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        let nonce = match usize::try_from(length) {
            Ok(LENGTH) => content.first_chunk().copied().map(u128::from_le_bytes),
            Ok(_) => None,
            Err(_) => match io::Error::last_os_error() {
                // The system refuses the call for every number.
                error
                    if matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::PERM | Errno::NOSYS | Errno::NOMEM)
                    ) =>
                {
                    return Err(error);
                }
                _ => None,
            },
        };
        let Some(nonce) = nonce else { return Ok(None) };
        let mut maker = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut size = socklen_t::try_from(size_of_val(&maker)).map_err(io::Error::other)?;
        const LEVEL: c_int = libc::SOL_SOCKET;
        let answer = (&raw mut maker).cast();
        // SAFETY: `maker` and `size` are live and writable, and `size` is the size of `maker`, which consists of integers.
        // The kernel checks the descriptor's number.
        let outcome =
            unsafe { libc::getsockopt(raw(value), LEVEL, libc::SO_PEERCRED, answer, &raw mut size) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Some(Recipient { process: maker.pid.unsigned_abs(), nonce }))
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::handle::{NullAccess, open_null};
    use crate::sys::io::Owned;
    use crate::sys::unix_socket;

    fn value(descriptor: &Owned) -> HandleValue {
        HandleValue::of(descriptor).expect("a descriptor has a value")
    }

    #[test]
    fn proof_names_the_process_that_made_it_and_is_read_without_being_taken() -> io::Result<()> {
        let placeholder = open_null(NullAccess::Read)?;
        assert_eq!(find(value(&placeholder))?, None);
        let nonce = 0x0123_4567_89ab_cdef_u128 << 64 | 7;
        prove(placeholder.as_fd(), nonce).map_err(|failure| io::Error::from_raw_os_error(failure.code))?;
        let expected = Recipient { process: std::process::id(), nonce };
        assert_eq!(find(value(&placeholder))?, Some(expected));
        assert_eq!(find(value(&placeholder))?, Some(expected));
        Ok(())
    }

    #[test]
    fn other_sockets_and_closed_descriptors_are_no_proofs() -> io::Result<()> {
        for (length, is_proof) in [(0, false), (LENGTH - 1, false), (LENGTH, true), (LENGTH + 1, false)] {
            let (near, far) = unix_socket::pair()?;
            if length > 0 {
                unix_socket::send(far.as_fd(), &[7; LENGTH + 1][..length], &[])?;
            }
            assert_eq!(find(value(&near))?.is_some(), is_proof, "{length}");
        }
        assert_eq!(find(HandleValue::new(999_999).expect("a value"))?, None);
        Ok(())
    }
}
