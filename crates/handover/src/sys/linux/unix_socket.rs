//! Unix sockets: bytes, and descriptors beside them.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

use super::SysResult;
use super::handle::to;
use super::io::Owned;
use super::{Argument, Effects, Length, Moved, Outcome, always, ask, call, process};

/// The most descriptors that the kernel passes with one message.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Room for that many, and for what goes with them.
const ROOM: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// Both ends of a connection.
pub(crate) fn pair() -> SysResult<(Owned, Owned)> {
    struct Pair(Owned, Owned);
    impl Outcome for Pair {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.result(to)?;
            to.write_str(" ")?;
            self.1.result(to)
        }

        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            self.0.effects(to)?;
            self.1.effects(to)
        }
    }
    let pair = call("socketpair", &[], || {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok(Pair(one.into(), other.into()))
    });
    pair.map(|Pair(one, other)| (one, other))
}

/// Sends as much as there is room for now, with these descriptors beside the first byte; `None` if there is no room.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> SysResult<Option<usize>> {
    send_parts(socket, &[IoSlice::new(bytes)], descriptors)
}

/// The same for bytes in several places, which go one behind the other.
pub(crate) fn send_parts(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> SysResult<Option<usize>> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let arguments = [
        ("socket", socket.into()),
        ("", Argument::Parts(parts)),
        ("handles", Argument::Handles(descriptors)),
    ];
    let outcome = |sent| match sent {
        Ok(length) => Ok(Some(Length(length))),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    };
    let sent = match (parts, descriptors) {
        ([bytes], []) => call("sendto", &arguments[..2], || outcome(rustix::net::send(socket, bytes, flags))),
        (parts, []) => call("sendmsg", &arguments[..2], || {
            outcome(rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags))
        }),
        (parts, descriptors) => call("sendmsg", &arguments, || {
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut beside = SendAncillaryBuffer::new(&mut room);
            if !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(Errno::INVAL.into());
            }
            outcome(rustix::net::sendmsg(socket, parts, &mut beside, flags))
        }),
    };
    sent.map(|sent| sent.map(|Length(length)| length))
}

/// Whether nothing could be sent because of all that this user's processes have sent, too many descriptors are under
/// way. No event tells when that is over.
pub(crate) fn is_crowded(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::TOOMANYREFS)
}

/// What was received at once.
#[derive(Debug)]
pub(crate) struct Received {
    /// How many bytes; zero is the end.
    pub(crate) length: usize,
    /// The descriptors that came beside them. The kernel gives those of one sending at a time, with its first byte.
    pub(crate) descriptors: Vec<Owned>,
    /// Whether there were more, for which this process had no room.
    pub(crate) is_cut: bool,
}

/// How a receive finds out whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It looks.
    Once,
    /// It waits for as long as was set for the socket: one call instead of two.
    Wait,
}

/// Sets how long [`Look::Wait`] waits.
pub(crate) fn set_wait(socket: BorrowedFd<'_>, time: Duration) -> SysResult<()> {
    call("setsockopt", &[("socket", socket.into()), to("SO_RCVTIMEO")], || {
        Ok(rustix::net::sockopt::set_socket_timeout(socket, Timeout::Recv, Some(time))?)
    })
}

/// Receives what is there, at most so many bytes, which come to the end of the buffer; `None` if nothing is there. A
/// descriptor comes with the flag that keeps it from started programs.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    look: Look,
) -> SysResult<Option<Received>> {
    let flags = match look {
        Look::Once => libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
        Look::Wait => libc::MSG_CMSG_CLOEXEC,
    };
    buffer.reserve(most);
    let arguments = [("socket", socket.into()), ("room", most.into())];
    let came = call("recvmsg", &arguments, || {
        let before = buffer.len();
        let mut room = MaybeUninit::<Room>::uninit();
        let mut part =
            libc::iovec { iov_base: buffer.spare_capacity_mut().as_mut_ptr().cast(), iov_len: most };
        // SAFETY: it is made of numbers and pointers, which may all be zero.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = ROOM as _;
        // SAFETY: the socket is borrowed, so it is open; the part is room that the buffer has and nobody else uses, the
        // other room is as large as is said, and both live through the call.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::INTR) => Ok(None),
                _ => Err(error),
            };
        };
        // SAFETY: the kernel has written so many bytes behind those that were there.
        unsafe { buffer.set_len(before + length) };
        // SAFETY: the kernel has filled this just now, and nobody has taken a descriptor from it.
        let descriptors = unsafe { descriptors_of(&message) };
        let is_cut = message.msg_flags & libc::MSG_CTRUNC != 0;
        let came = Received { length, descriptors, is_cut };
        Ok(Some(WithBytes { bytes: &buffer[before..], came }))
    });
    came.map(|came| came.map(|with_bytes| with_bytes.came))
}

/// Where the kernel puts what comes beside the bytes: aligned for the headers in it.
type Room = [libc::cmsghdr; ROOM.div_ceil(size_of::<libc::cmsghdr>())];

/// The descriptors that came beside the bytes.
///
/// # Safety
///
/// A call to receive has filled in the message, whose room is there still, and nobody has taken a descriptor from it.
unsafe fn descriptors_of(message: &libc::msghdr) -> Vec<Owned> {
    let mut descriptors = Vec::new();
    // SAFETY: the room is as large as the kernel has said that what is in it is.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: the call before found a whole header there.
        let header = unsafe { next.read() };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the header is one in the room.
            let first = unsafe { libc::CMSG_DATA(next) }.cast::<RawFd>();
            // SAFETY: the call takes a number.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "the number's type differs between C libraries")]
            let count = (header.cmsg_len as usize - empty) / size_of::<RawFd>();
            // SAFETY: so many numbers stand behind the header, aligned as it is.
            let numbers = unsafe { std::slice::from_raw_parts(first, count) };
            descriptors.reserve_exact(count);
            // SAFETY: the kernel has made the descriptor for this process, and its number stands here alone.
            let owned = |number: &RawFd| unsafe { OwnedFd::from_raw_fd(*number) }.into();
            descriptors.extend(numbers.iter().map(owned));
        }
        // SAFETY: as for the first.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    descriptors
}

/// What came, with the bytes, which stand in the receiver's buffer.
struct WithBytes<'a> {
    bytes: &'a [u8],
    came: Received,
}

impl Outcome for WithBytes<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Moved(self.bytes).result(to)?;
        if self.came.is_cut { to.write_str(", and descriptors for which there is no room") } else { Ok(()) }
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        self.came.descriptors.iter().try_for_each(|descriptor| descriptor.effects(to))
    }
}

/// Whether a call failed because the other end is closed.
pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN))
}

/// Whether a call failed because the other end was closed before it had read everything.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::CONNRESET)
}

/// What the kernel has to say of a connection, if that wasn't said by a call yet. It says it once.
pub(crate) fn pending_error(socket: BorrowedFd<'_>) -> SysResult<Option<io::Error>> {
    struct Pending(Option<io::Error>);
    impl Outcome for Pending {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.0 {
                Some(error) => write!(to, "{error}"),
                None => to.write_str("none"),
            }
        }
    }
    let pending = ask("getsockopt", &[("socket", socket.into()), to("SO_ERROR")], || {
        let error = rustix::net::sockopt::socket_error(socket)?;
        Ok(Pending(error.err().map(io::Error::from)))
    });
    pending.map(|pending| pending.0)
}

/// What is asked of a socket to be read from, and what to be written to.
pub(crate) const READABLE: PollFlags = PollFlags::IN;
pub(crate) const WRITABLE: PollFlags = PollFlags::OUT;

fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(path)?)
}

/// The most bytes that the path of a socket has.
pub(crate) const LONGEST_PATH: usize = 107;

fn socket() -> SysResult<Owned> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    call("socket", &[], || {
        Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?.into())
    })
}

/// A socket that others can connect to by this path, where nothing is yet.
pub(crate) fn listen(path: &Path) -> SysResult<Owned> {
    const BACKLOG: i32 = 128;
    let socket = socket()?;
    call("bind", &[("socket", (&socket).into()), ("path", path.into())], || {
        Ok(rustix::net::bind(&socket, &address(path)?)?)
    })?;
    let arguments = [("socket", (&socket).into()), ("backlog", BACKLOG.into())];
    if let Err(error) = call("listen", &arguments, || Ok(rustix::net::listen(&socket, BACKLOG)?)) {
        // Nobody listens there.
        let _ = always("unlink", &[("path", path.into())], || std::fs::remove_file(path));
        return Err(error);
    }
    Ok(socket)
}

/// Connects to whoever listens there; `None` if too many wait for that one now.
pub(crate) fn connect(path: &Path) -> SysResult<Option<Owned>> {
    let socket = socket()?;
    let connected =
        call(
            "connect",
            &[("socket", (&socket).into()), ("path", path.into())],
            || match rustix::net::connect(&socket, &address(path)?) {
                Ok(()) => Ok(Some(())),
                Err(Errno::AGAIN | Errno::INTR) => Ok(None),
                Err(error) => Err(error.into()),
            },
        )?;
    if connected.is_none() {
        return Ok(None);
    }
    // It was to keep this call from waiting.
    call("fcntl", &[("handle", (&socket).into()), to("F_SETFL")], || {
        Ok(rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::empty())?)
    })?;
    Ok(Some(socket))
}

/// Whether nobody listens there.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::CONNREFUSED))
}

/// Who has connected, if somebody has.
pub(crate) fn accept(listening: BorrowedFd<'_>) -> SysResult<Option<Owned>> {
    call("accept4", &[("socket", listening.into())], || {
        match rustix::net::accept_with(listening, SocketFlags::CLOEXEC) {
            Ok(socket) => Ok(Some(socket.into())),
            // The last is one that came and went.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// The process that made the other end, as the kernel noted it then.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) id: u32,
    pub(crate) user: u32,
    /// `None` if it has ended.
    pub(crate) process: Option<Owned>,
}

/// The user whose process made the other end, and that process's id.
pub(crate) fn user_of_other_end(socket: BorrowedFd<'_>) -> SysResult<(u32, u32)> {
    struct Noted(libc::ucred);
    impl Outcome for Noted {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "process {} of user {}", self.0.pid, self.0.uid)
        }
    }
    let Noted(noted) = ask("getsockopt", &[("socket", socket.into()), to("SO_PEERCRED")], || {
        let mut noted = libc::ucred { pid: 0, uid: 0, gid: 0 };
        // SAFETY: the option's answer is this structure.
        unsafe { option(socket, libc::SO_PEERCRED, &mut noted) }?;
        Ok(Noted(noted))
    })?;
    // Zero is a process that this one's part of the system doesn't see.
    Ok((noted.uid, noted.pid.unsigned_abs()))
}

/// Ends a connection for both sides, whoever else has it open.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    // If it has ended, that is as good.
    let _ = always("shutdown", &[("socket", socket.into())], || {
        Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
    });
}

/// Who made the other end.
///
/// Since Linux 6.5 the kernel keeps hold of the process itself. Before, it only has the number, and that may be another
/// process's if the maker has ended; so the connection must be up still when the process of that number is held.
pub(crate) fn maker_of_other_end(socket: BorrowedFd<'_>) -> SysResult<Maker> {
    let (user, id) = user_of_other_end(socket)?;
    let held = match peer_pidfd(socket) {
        Ok(process) => Some(process),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOPROTOOPT) => match process::open(id) {
                Ok(process) if !is_hung_up(socket)? => Some(process),
                Ok(_) => None,
                Err(error) if process::is_missing(&error) => None,
                Err(error) => return Err(error),
            },
            // It has ended, and was waited for.
            Some(Errno::SRCH | Errno::INVAL | Errno::NODATA) => None,
            _ => return Err(error),
        },
    };
    // Newer kernels hold on to one that has ended too.
    let process = match held {
        Some(process) if has_exited(process.as_fd())? => None,
        other => other,
    };
    Ok(Maker { id, user, process })
}

fn has_exited(process: BorrowedFd<'_>) -> SysResult<bool> {
    super::wait::ready(&mut [rustix::event::PollFd::from_borrowed_fd(process, PollFlags::IN)], Some(0))
}

fn peer_pidfd(socket: BorrowedFd<'_>) -> SysResult<Owned> {
    /// As the kernel's headers have it for all but two old machines, which the crates don't name yet.
    const SO_PEERPIDFD: i32 = 77;
    call("getsockopt", &[("socket", socket.into()), to("SO_PEERPIDFD")], || {
        let mut descriptor: RawFd = 0;
        // SAFETY: the option's answer is a number.
        unsafe { option(socket, SO_PEERPIDFD, &mut descriptor) }?;
        // SAFETY: the kernel has made the descriptor for us just now, with the flag that keeps it from started programs.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }.into())
    })
}

/// Asks a socket for one of its options.
///
/// # Safety
///
/// Any bytes that the kernel answers for this option must be a value of `T`.
unsafe fn option<T>(socket: BorrowedFd<'_>, name: i32, answer: &mut T) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the socket is borrowed, so it is open; both places live through the call, and the answer's has the length
    // in the other; the caller promises that it can hold whatever comes.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_mut(answer).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the other end is closed.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> SysResult<bool> {
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    super::wait::ready(&mut polled, Some(0))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// In a process that has connected and ended, and was waited for.
    fn connected_by_one_that_has_ended() -> io::Result<(Owned, u32)> {
        let path = std::env::temp_dir().join(format!("handover-stream-{}", std::process::id()));
        let listening = listen(&path)?;
        let at = path.clone();
        let mut command = Command::new("true");
        // SAFETY: only system calls are made in the new process, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)
                    .map_err(io::Error::from)?;
                rustix::net::connect(&socket, &address(&at)?)?;
                Ok(())
            })
        };
        let mut child = command.spawn()?;
        child.wait()?;
        std::fs::remove_file(&path)?;
        let connection = accept(listening.as_fd())?.ok_or(io::ErrorKind::NotFound)?;
        Ok((connection, child.id()))
    }

    #[test]
    fn who_has_made_the_other_end_is_held_as_long_as_it_runs() -> io::Result<()> {
        let (near, _far) = pair()?;
        let maker = maker_of_other_end(near.as_fd())?;
        assert_eq!((maker.id, maker.user), (std::process::id(), super::super::user::current()));
        assert!(maker.process.is_some());
        let (connection, id) = connected_by_one_that_has_ended()?;
        let maker = maker_of_other_end(connection.as_fd())?;
        assert_eq!(maker.id, id);
        assert!(maker.process.is_none());
        Ok(())
    }

    #[cfg(feature = "faults")]
    mod on_other_kernels {
        use super::*;
        use crate::faults::{Turn, taking};

        /// What a kernel says that answers so when it is asked for the process.
        fn made_by(socket: &Owned, code: Errno, more: Option<Turn>) -> SysResult<Maker> {
            let mut turns = vec![Turn::fails("getsockopt", 1..2, code.raw_os_error())];
            turns.extend(more);
            let (maker, were_taken) = taking(turns, || maker_of_other_end(socket.as_fd()));
            assert!(were_taken);
            maker
        }

        #[test]
        fn the_process_of_the_number_is_held_while_the_connection_is_up() -> io::Result<()> {
            let (near, far) = pair()?;
            assert!(made_by(&near, Errno::NOPROTOOPT, None)?.process.is_some());
            let fails = |code: Errno| Some(Turn::fails("pidfd_open", 0..1, code.raw_os_error()));
            assert!(made_by(&near, Errno::NOPROTOOPT, fails(Errno::SRCH))?.process.is_none());
            let error = made_by(&near, Errno::NOPROTOOPT, fails(Errno::MFILE)).expect_err("it isn't known");
            assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
            drop(far);
            assert!(made_by(&near, Errno::NOPROTOOPT, None)?.process.is_none(), "it may be another process");
            Ok(())
        }

        #[test]
        fn one_that_was_waited_for_is_none_and_any_other_error_is_one() -> io::Result<()> {
            let (near, _far) = pair()?;
            for code in [Errno::SRCH, Errno::INVAL, Errno::NODATA] {
                assert!(made_by(&near, code, None)?.process.is_none(), "{code}");
            }
            let error = made_by(&near, Errno::MFILE, None).expect_err("it isn't known");
            assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
            Ok(())
        }
    }
}
