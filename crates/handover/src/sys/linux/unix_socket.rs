//! Unix sockets of sequenced packets (`SOCK_SEQPACKET`), which transfer bytes and descriptors.
//!
//! Each send is one packet, which is sent as a whole or not at all. Each receive returns one packet, with the descriptors
//! that were sent with it.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, UCred,
};

use super::SysResult;
use super::handle::to;
use super::io::Owned;
use super::{Argument, Effects, Length, Moved, Outcome, always, ask, call, process};
use crate::sys::owned_handle::spare_list;

/// The maximum number of descriptors in one message (`SCM_MAX_FD` in the kernel).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// The maximum length of a packet in bytes, as this crate sends them. It is a little less than the space of a socket that
/// sends (`net.core.wmem_default`), because the kernel sends no longer packet.
pub(crate) const MAX_PACKET: usize = 200 * 1024;

/// The size of a control message with that many descriptors.
const ROOM: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));
/// The size of the control messages with a sender's credentials and its descriptor.
const SENDER_ROOM: usize = rustix::cmsg_space!(ScmCredentials(1)) + rustix::cmsg_space!(ScmRights(1));

/// Creates two connected sockets.
pub(crate) fn pair() -> SysResult<(Owned, Owned)> {
    struct Pair(Owned, Owned);
    impl Outcome for Pair {
        #[inline]
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.result(to)?;
            to.write_str(" ")?;
            self.1.result(to)
        }

        #[inline]
        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            self.0.effects(to)?;
            self.1.effects(to)
        }
    }
    let pair = call("socketpair", &[], || {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok(Pair(one.into(), other.into()))
    });
    pair.map(|Pair(one, other)| (one, other))
}

/// Sends bytes and these descriptors as one packet. Returns the number of bytes, or `None` if the socket has no space now.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> SysResult<Option<usize>> {
    send_parts(socket, &[IoSlice::new(bytes)], descriptors)
}

/// Does the same for bytes in several buffers, which become one packet.
#[inline]
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
            let mut control = SendAncillaryBuffer::new(&mut room);
            if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(Errno::INVAL.into());
            }
            outcome(rustix::net::sendmsg(socket, parts, &mut control, flags))
        }),
    };
    sent.map(|sent| sent.map(|Length(length)| length))
}

/// Returns whether a send failed because too many descriptors sent by this user's processes haven't been received
/// yet. No event reports when that changes.
pub(crate) fn is_crowded(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::TOOMANYREFS)
}

/// Returns whether a packet could not be sent because of its length: it is longer than the socket's space, or the kernel
/// found no memory in one piece for it.
pub(crate) fn is_too_long(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MSGSIZE | Errno::NOBUFS))
}

/// Sends a packet with this process's credentials, which the kernel checks, or without them where they have no numbers.
/// Returns false if the socket has no space now.
pub(crate) fn send_with_credentials(socket: BorrowedFd<'_>, bytes: &[u8]) -> SysResult<bool> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let arguments = [("socket", socket.into()), ("", Argument::Bytes(bytes)), to("SCM_CREDENTIALS")];
    let sent = call("sendmsg", &arguments, || {
        let credentials = UCred {
            pid: rustix::process::getpid(),
            uid: rustix::process::getuid(),
            gid: rustix::process::getgid(),
        };
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !control.push(SendAncillaryMessage::ScmCredentials(credentials)) {
            return Err(Errno::INVAL.into());
        }
        let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
        // The user or the group has no id in this process's user namespace, so it can't be named. If one of the sockets asks
        // for credentials, the kernel adds them itself.
        let sent = if sent == Err(Errno::INVAL) { rustix::net::send(socket, bytes, flags) } else { sent };
        match sent {
            Ok(length) => Ok(Some(Length(length))),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    sent.map(|sent| sent.is_some())
}

/// Makes each receive return the credentials of the sender, or no more.
pub(crate) fn receive_credentials(socket: BorrowedFd<'_>, on: bool) -> SysResult<()> {
    /// The value in the kernel's headers for all architectures except two old ones. The `libc` and `rustix` crates
    /// don't define it yet.
    const SO_PASSPIDFD: i32 = 76;
    set_option(socket, "SO_PASSCRED", libc::SO_PASSCRED, on)?;
    match set_option(socket, "SO_PASSPIDFD", SO_PASSPIDFD, on) {
        // Before Linux 6.5, or where a filter refuses the option.
        Err(error) if is_unsupported_option(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Limits the time that a receive waits, or lets it wait without a limit (`None`). The kernel rounds it up to its ticks.
pub(crate) fn set_receive_timeout(socket: BorrowedFd<'_>, timeout: Option<Duration>) -> SysResult<()> {
    let arguments = [
        ("socket", socket.into()),
        to("SO_RCVTIMEO"),
        (
            "",
            Argument::Milliseconds(timeout.map(|timeout| timeout.as_millis().try_into().unwrap_or(u32::MAX))),
        ),
    ];
    call("setsockopt", &arguments, || {
        Ok(rustix::net::sockopt::set_socket_timeout(socket, rustix::net::sockopt::Timeout::Recv, timeout)?)
    })
}

fn is_unsupported_option(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOPROTOOPT | Errno::PERM | Errno::ACCESS | Errno::NOSYS)
    )
}

fn set_option(socket: BorrowedFd<'_>, name: &'static str, number: i32, on: bool) -> SysResult<()> {
    call("setsockopt", &[("socket", socket.into()), to(name), ("", u32::from(on).into())], || {
        let value = libc::c_int::from(on);
        let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
        // SAFETY: the socket is borrowed, so it is open. `value` is a live integer of the given size, which the kernel only
        // reads.
        let outcome = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, number, (&raw const value).cast(), length)
        };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })
}

/// Returns whether a socket is connected, or was until its peer closed.
pub(crate) fn was_connected(socket: BorrowedFd<'_>) -> SysResult<bool> {
    struct Connected(bool);
    impl Outcome for Connected {
        #[inline]
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str(if self.0 { "connected" } else { "not connected" })
        }
    }
    let connected =
        ask("getpeername", &[("socket", socket.into())], || match rustix::net::getpeername(socket) {
            Ok(_) => Ok(Connected(true)),
            Err(Errno::NOTCONN) => Ok(Connected(false)),
            Err(error) => Err(error.into()),
        });
    connected.map(|connected| connected.0)
}

/// The process that sent some bytes, as the kernel knows it.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) id: u32,
    /// The process. `None` before Linux 6.5, and if it has exited.
    pub(crate) process: Option<Arc<Owned>>,
}

/// The result of one receive.
#[derive(Debug)]
pub(crate) struct Received {
    /// The number of bytes. Zero is end of file, or an empty packet.
    pub(crate) length: usize,
    /// Whether the packet was longer. The rest of it is lost.
    pub(crate) is_truncated: bool,
    /// The descriptors that were sent with the packet.
    pub(crate) descriptors: Vec<Owned>,
    /// Whether descriptors were lost because this process had no room for them.
    pub(crate) is_cut: bool,
    /// The sender of the packet, if it is known: if its credentials were asked for, or it sent them itself.
    pub(crate) sender: Option<Sender>,
}

impl Received {
    /// Returns whether it is a packet that arrived as a whole, without descriptors.
    #[inline]
    pub(crate) fn is_of_bytes_alone(&self) -> bool {
        !self.is_truncated
            && !self.is_cut
            && self.descriptors.is_empty()
            && (1..=MAX_PACKET).contains(&self.length)
    }

    /// Returns whether nothing was received: end of file, or an empty packet.
    fn is_empty(&self) -> bool {
        self.length == 0 && self.descriptors.is_empty() && !self.is_cut
    }
}

/// The way in which a receive handles an empty buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It returns at once.
    Once,
    /// It waits for data.
    Wait,
}

/// Receives at most `most` bytes of the next packet, and appends them to the buffer. Returns `None` if no packet is
/// available. Received descriptors are close-on-exec.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    look: Look,
) -> SysResult<Option<Received>> {
    receive_beside(socket, buffer, most, &mut Vec::new(), look)
}

/// Does the same for a packet whose length isn't known. Its first `most` bytes go directly into the buffer. Those behind
/// them, as many as `beside` has capacity for, are received there and then appended to the buffer.
#[inline(never)]
pub(crate) fn receive_beside(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    beside: &mut Vec<u8>,
    look: Look,
) -> SysResult<Option<Received>> {
    receive_beside_inlined(socket, buffer, most, beside, look)
}

/// Does the same, inlined into a caller that receives many short messages.
#[inline(always)]
pub(crate) fn receive_beside_inlined(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    beside: &mut Vec<u8>,
    look: Look,
) -> SysResult<Option<Received>> {
    let received = receive_once(socket, buffer, most, beside, look)?;
    if received.as_ref().is_some_and(Received::is_empty) {
        return receive_again(received, socket, buffer, most, beside);
    }
    Ok(received)
}

/// Receives again after a receive that found the end of file, or an empty packet.
#[cold]
fn receive_again(
    received: Option<Received>,
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    beside: &mut Vec<u8>,
) -> SysResult<Option<Received>> {
    if !has_ended(socket)? {
        return Ok(received);
    }
    // The kernel looks at its queue before it looks whether the peer has closed. If the peer sends its last packet and closes
    // between the two, the call returns end of file although the packet is there. The next one returns the packet.
    Ok(receive_once(socket, buffer, most, beside, Look::Once)?.or(received))
}

#[inline(always)]
fn receive_once(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    beside: &mut Vec<u8>,
    look: Look,
) -> SysResult<Option<Received>> {
    let flags = match look {
        Look::Once => libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
        Look::Wait => libc::MSG_CMSG_CLOEXEC,
    };
    buffer.reserve_exact(most);
    beside.clear();
    let arguments = [("socket", socket.into()), ("room", (most + beside.capacity()).into())];
    let received = call("recvmsg", &arguments, || {
        let before = buffer.len();
        let mut room = MaybeUninit::<Room>::uninit();
        let mut parts = [
            libc::iovec { iov_base: buffer.spare_capacity_mut().as_mut_ptr().cast(), iov_len: most },
            libc::iovec {
                iov_base: beside.spare_capacity_mut().as_mut_ptr().cast(),
                iov_len: beside.capacity(),
            },
        ];
        // SAFETY: `msghdr` consists of integers and raw pointers, for which all zeros are valid values.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Room>() as _;
        // SAFETY: the socket is borrowed, so it is open. `parts` describes the spare capacity of `buffer`, for which at
        // least `most` bytes were reserved, and that of `beside`, which is empty. `room` has the size of its type. All
        // are writable, used by no other code, and alive during the call.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::INTR) => Ok(None),
                _ => Err(error),
            };
        };
        let (first, behind) = (length.min(most), length.saturating_sub(most));
        // SAFETY: the capacity is sufficient, because `most` bytes were reserved and `first` is no more. The kernel has
        // initialized `first` bytes behind the first `before`.
        unsafe { buffer.set_len(before + first) };
        // SAFETY: the kernel has filled the first part before the second, so it has initialized `behind` bytes of
        // `beside`. It writes no more than the part's length, which is the capacity.
        unsafe { beside.set_len(behind) };
        if behind > 0 {
            buffer.extend_from_slice(beside);
        }
        let (descriptors, sender) = if message.msg_controllen == 0 {
            (Vec::new(), None)
        } else {
            // SAFETY: `recvmsg` has just filled the message, `room` is still alive, and no descriptor has been taken from
            // it.
            unsafe { contents_of(&message) }
        };
        let is_cut = message.msg_flags & libc::MSG_CTRUNC != 0;
        let is_truncated = message.msg_flags & libc::MSG_TRUNC != 0;
        let received = Received { length, is_truncated, descriptors, is_cut, sender };
        Ok(Some(WithBytes { bytes: &buffer[before..], received }))
    });
    received.map(|received| received.map(|with_bytes| with_bytes.received))
}

/// Copies the bytes that are received next into the buffer, and leaves them in the socket. Returns their number, which is
/// zero if none are available.
pub(crate) fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> SysResult<usize> {
    let peeked = ask("recvfrom", &[("socket", socket.into()), to("MSG_PEEK")], || {
        match rustix::net::recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((length, _)) => Ok(Length(length)),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNRESET) => Ok(Length(0)),
            Err(error) => Err(error.into()),
        }
    });
    peeked.map(|Length(length)| length)
}

/// The buffer for control messages, aligned for their headers.
type Room = [libc::cmsghdr; (ROOM + SENDER_ROOM).div_ceil(size_of::<libc::cmsghdr>())];

/// Takes ownership of the descriptors in the control messages, and returns the sender if they name it.
///
/// # Safety
///
/// `recvmsg` must have filled in the message, its control buffer must still be alive, and no descriptor may have been
/// taken from it before.
#[cold]
unsafe fn contents_of(message: &libc::msghdr) -> (Vec<Owned>, Option<Sender>) {
    /// The type of the control message with a descriptor of the sender. The `libc` crate doesn't define it for all
    /// C libraries yet.
    const SCM_PIDFD: i32 = 4;
    let (mut descriptors, mut id, mut process) = (Vec::new(), None, None);
    // SAFETY: the caller guarantees that `recvmsg` filled in the message and that its control buffer is alive. So
    // `msg_controllen` is the number of valid bytes in it, and the macro reads no further.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: `CMSG_FIRSTHDR` and `CMSG_NXTHDR` return a non-null pointer only to a complete header in the
        // control buffer. The buffer is aligned for headers.
        let header = unsafe { next.read() };
        // SAFETY: `next` points to a header in the control buffer, and the macro only computes the address of the data
        // behind it.
        let data = unsafe { libc::CMSG_DATA(next) };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let first = data.cast::<RawFd>();
            // SAFETY: the macro only computes with the number; it accesses no memory.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "the number's type differs between C libraries")]
            let count = (header.cmsg_len as usize - empty) / size_of::<RawFd>();
            // SAFETY: the kernel wrote `cmsg_len` bytes for this message, so `count` descriptors follow the header.
            // The data begins at a multiple of the header's alignment, which is at least that of a descriptor.
            let numbers = unsafe { std::slice::from_raw_parts(first, count) };
            if count > 0 {
                descriptors = spare_list();
                descriptors.reserve_exact(count);
            }
            // SAFETY: the kernel opened the descriptor in this process for this message. The caller guarantees that
            // no descriptor was taken from the message before, and this loop takes each one once, so no other owner
            // exists.
            let owned = |number: &RawFd| unsafe { OwnedFd::from_raw_fd(*number) }.into();
            descriptors.extend(numbers.iter().map(owned));
        } else if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
            // SAFETY: the kernel wrote a complete message of this type, so a `ucred` follows the header. It consists of
            // integers, and the read needs no alignment.
            let credentials = unsafe { data.cast::<libc::ucred>().read_unaligned() };
            id = Some(credentials.pid.unsigned_abs());
        } else if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, SCM_PIDFD) {
            // SAFETY: the kernel wrote a complete message of this type, so a descriptor's number follows the header. The
            // read needs no alignment.
            let number = unsafe { data.cast::<RawFd>().read_unaligned() };
            // A negative number is the error for a process that has exited, or for a lack of descriptors.
            if number >= 0 {
                // SAFETY: the kernel opened the descriptor in this process for this message, of which there is one, and the
                // caller guarantees that nothing was taken from it before. So no other owner exists.
                let owned: Owned = unsafe { OwnedFd::from_raw_fd(number) }.into();
                process = Some(Arc::new(owned));
            }
        }
        // SAFETY: the caller guarantees that `recvmsg` filled in the message and that its control buffer is alive.
        // `next` is a header in this buffer, and the macro reads no further than its valid bytes.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    // Bytes that were sent before their credentials were asked for have the id zero and no process. A process of another PID
    // namespace has the id zero too.
    let sender = id.filter(|id| *id != 0 || process.is_some()).map(|id| Sender { id, process });
    (descriptors, sender)
}

/// A received message together with its bytes, which are in the receiver's buffer.
struct WithBytes<'a> {
    bytes: &'a [u8],
    received: Received,
}

impl Outcome for WithBytes<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Moved(self.bytes).result(to)?;
        if self.received.is_cut {
            to.write_str(", and descriptors for which there is no room")
        } else {
            Ok(())
        }
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        let process = self.received.sender.as_ref().and_then(|sender| sender.process.as_deref());
        self.received.descriptors.iter().chain(process).try_for_each(|descriptor| descriptor.effects(to))
    }
}

/// Returns whether a call failed because the peer has closed its end.
pub(crate) fn is_end(error: &io::Error) -> bool {
    // Before Linux 6.2, a send gets `ECONNREFUSED` if the peer closes its end during the call.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNREFUSED)
    )
}

/// Returns whether a call failed because the peer closed its end with unread bytes.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::CONNRESET)
}

/// Returns the connection's pending error, if no call has reported it yet. The kernel reports it once.
pub(crate) fn pending_error(socket: BorrowedFd<'_>) -> SysResult<Option<io::Error>> {
    struct Pending(Option<io::Error>);
    impl Outcome for Pending {
        #[inline]
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

/// Returns whether the peer hasn't read everything that was sent to it.
pub(crate) fn has_unread(socket: BorrowedFd<'_>) -> SysResult<bool> {
    let unread = ask("ioctl", &[("socket", socket.into()), to("SIOCOUTQ")], || {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the kernel writes one `int` for this request, and `bytes` is one that nothing else uses meanwhile.
        let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(Length(bytes.unsigned_abs() as usize)) }
    });
    unread.map(|unread| unread.0 > 0)
}

/// The poll flags for a socket that can be read from.
pub(crate) const READABLE: PollFlags = PollFlags::IN;

fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(path)?)
}

/// The longest path of a socket, in bytes.
pub(crate) const LONGEST_PATH: usize = 107;

fn socket() -> SysResult<Owned> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    call("socket", &[], || {
        Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?.into())
    })
}

/// Creates a socket that listens at this path. The path must not exist yet.
///
/// `prepare` runs when the path exists and no process can connect yet.
pub(crate) fn listen(path: &Path, prepare: impl FnOnce() -> SysResult<()>) -> SysResult<Owned> {
    const BACKLOG: i32 = 128;
    let socket = socket()?;
    call("bind", &[("socket", (&socket).into()), ("path", path.into())], || {
        Ok(rustix::net::bind(&socket, &address(path)?)?)
    })?;
    let arguments = [("socket", (&socket).into()), ("backlog", BACKLOG.into())];
    let listen = || call("listen", &arguments, || Ok(rustix::net::listen(&socket, BACKLOG)?));
    if let Err(error) = prepare().and_then(|()| listen()) {
        // The path was created by `bind`, and no process will ever accept connections at it.
        let _ = always("unlink", &[("path", path.into())], || std::fs::remove_file(path));
        return Err(error);
    }
    Ok(socket)
}

/// Connects to the process that listens at this path. Returns `None` if its queue of pending connections is full.
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
    // The socket was non-blocking only to keep `connect` from waiting.
    call("fcntl", &[("handle", (&socket).into()), to("F_SETFL")], || {
        Ok(rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::empty())?)
    })?;
    Ok(Some(socket))
}

/// Returns whether a connect failed because no process listens at the path.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::CONNREFUSED))
}

/// Accepts a pending connection, if there is one.
pub(crate) fn accept(listening: BorrowedFd<'_>) -> SysResult<Option<Owned>> {
    call("accept4", &[("socket", listening.into())], || {
        match rustix::net::accept_with(listening, SocketFlags::CLOEXEC) {
            Ok(socket) => Ok(Some(socket.into())),
            // `ECONNABORTED`: the client closed the connection before it was accepted.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// The process that created the peer socket, as the kernel recorded it at that time.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) id: u32,
    pub(crate) user: u32,
    /// The process, or `None` if it has exited or could not be identified.
    pub(crate) process: Option<Owned>,
    pub(crate) has_exited: bool,
}

/// Returns the user of the process that created the peer socket, and the process's id.
pub(crate) fn user_of_other_end(socket: BorrowedFd<'_>) -> SysResult<(u32, u32)> {
    struct Noted(libc::ucred);
    impl Outcome for Noted {
        #[inline]
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "process {} of user {}", self.0.pid, self.0.uid)
        }
    }
    let Noted(noted) = ask("getsockopt", &[("socket", socket.into()), to("SO_PEERCRED")], || {
        let mut noted = libc::ucred { pid: 0, uid: 0, gid: 0 };
        // SAFETY: the kernel answers `SO_PEERCRED` with a `ucred`, which consists of integers, so any bytes are a
        // valid value.
        unsafe { option(socket, libc::SO_PEERCRED, &mut noted) }?;
        Ok(Noted(noted))
    })?;
    // The id is zero for a process outside this pid namespace.
    Ok((noted.uid, noted.pid.unsigned_abs()))
}

/// Shuts the connection down in both directions, even if other descriptors refer to the same socket.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    // An error means that the connection has already ended.
    let _ = always("shutdown", &[("socket", socket.into())], || {
        Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
    });
}

/// Returns the process that created the peer socket.
///
/// Since Linux 6.5 the kernel keeps a reference to the process itself. Before, it keeps only the id, which may belong
/// to another process once the creator has exited. In this case the process is opened by its id first, and then the
/// connection must still be up. If it isn't, a process with that id still runs, but it isn't returned, because it may
/// be another one.
pub(crate) fn maker_of_other_end(socket: BorrowedFd<'_>) -> SysResult<Maker> {
    let (user, id) = user_of_other_end(socket)?;
    maker_with_id(user, id, socket)
}

fn maker_with_id(user: u32, id: u32, socket: BorrowedFd<'_>) -> SysResult<Maker> {
    let held = match peer_pidfd(socket) {
        Ok(process) => Some(process),
        Err(error) => match Errno::from_io_error(&error) {
            _ if is_unsupported_option(&error) => match process_of_id(id, socket)? {
                Identified::Is(process) => Some(process),
                Identified::MayBe => {
                    let has_exited = id != 0 && process::may_be_ending(id);
                    return Ok(Maker { id, user, process: None, has_exited });
                }
                Identified::Exited => None,
            },
            // The process has exited and was waited for.
            Some(Errno::SRCH | Errno::INVAL | Errno::NODATA) => None,
            _ => return Err(error),
        },
    };
    // Newer kernels return a descriptor even for a process that has exited.
    let process = match held {
        Some(process) if has_exited(process.as_fd())? => None,
        other => other,
    };
    Ok(Maker { id, user, has_exited: process.is_none(), process })
}

/// A process with the id of a connection's other process.
enum Identified {
    Is(Owned),
    /// A process with the id runs, but it may be another one. Or the process has no id here.
    MayBe,
    Exited,
}

/// Opens the process that had this id while the connection was up.
fn process_of_id(id: u32, socket: BorrowedFd<'_>) -> SysResult<Identified> {
    if id == 0 {
        // It belongs to another PID namespace, and has no id in this one.
        return Ok(Identified::MayBe);
    }
    match process::open(id) {
        Ok(process) if !is_hung_up(socket)? => Ok(Identified::Is(process)),
        Ok(_) => Ok(Identified::MayBe),
        Err(error) if process::is_missing(&error) => Ok(Identified::Exited),
        Err(error) => Err(error),
    }
}

/// Returns the process that sent some bytes if it runs, and otherwise whether it is known to have exited. Before Linux 6.5,
/// it is opened by its id; then the connection must still be up (see [`maker_of_other_end`]).
pub(crate) fn process_of_sender(
    sender: Sender,
    socket: BorrowedFd<'_>,
) -> SysResult<Result<Arc<Owned>, bool>> {
    let Sender { id, process } = sender;
    let process = match process {
        Some(process) => Some(process),
        None => match process_of_id(id, socket)? {
            Identified::Is(process) => Some(Arc::new(process)),
            Identified::MayBe | Identified::Exited => None,
        },
    };
    let running = process.filter(|process| is_running(process.as_fd()));
    Ok(running.ok_or_else(|| id != 0 && process::may_be_ending(id)))
}

/// Returns whether a process runs, or `false` if that can't be found out.
pub(crate) fn is_running(process: BorrowedFd<'_>) -> bool {
    has_exited(process).is_ok_and(|has_exited| !has_exited)
}

fn has_exited(process: BorrowedFd<'_>) -> SysResult<bool> {
    super::wait::ready(&mut [rustix::event::PollFd::from_borrowed_fd(process, PollFlags::IN)], Some(0))
}

fn peer_pidfd(socket: BorrowedFd<'_>) -> SysResult<Owned> {
    /// The value in the kernel's headers for all architectures except two old ones. The `libc` and `rustix` crates
    /// don't define it yet.
    const SO_PEERPIDFD: i32 = 77;
    call("getsockopt", &[("socket", socket.into()), to("SO_PEERPIDFD")], || {
        let mut descriptor: RawFd = 0;
        // SAFETY: the kernel answers `SO_PEERPIDFD` with an integer, for which any bytes are a valid value.
        unsafe { option(socket, SO_PEERPIDFD, &mut descriptor) }?;
        // SAFETY: the successful call has just opened this descriptor (close-on-exec) for this process, and wrote its
        // number only to this local variable, so no other owner exists.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }.into())
    })
}

/// Returns one of a socket's options.
///
/// # Safety
///
/// Any bytes that the kernel can answer for this option must be a valid value of `T`.
unsafe fn option<T>(socket: BorrowedFd<'_>, name: i32, answer: &mut T) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the socket is borrowed, so it is open. `answer` and `length` are live and writable, and `length` is the
    // size of `answer`, so the kernel writes no further. The caller guarantees that `T` can hold any answer.
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

/// Returns whether the peer has closed its end.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> SysResult<bool> {
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    super::wait::ready(&mut polled, Some(0))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}

/// Returns whether the peer sends no more, so that a receive of zero bytes is end of file and not an empty packet.
pub(crate) fn has_ended(socket: BorrowedFd<'_>) -> SysResult<bool> {
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    super::wait::ready(&mut polled, Some(0))?;
    Ok(!polled[0].revents().is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// Returns a connection from a process that connected, exited, and was waited for, and the process's id.
    fn connection_of_exited_process() -> io::Result<(Owned, u32)> {
        let path = std::env::temp_dir().join(format!("handover-packets-{}", std::process::id()));
        let listening = listen(&path, || Ok(()))?;
        let client_path = path.clone();
        let mut command = Command::new("true");
        // SAFETY: the closure runs between fork and `execve`. It makes only system calls, allocates nothing and takes
        // no lock.
        unsafe {
            command.pre_exec(move || {
                let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)
                    .map_err(io::Error::from)?;
                rustix::net::connect(&socket, &address(&client_path)?)?;
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
    fn peer_process_is_returned_while_it_runs() -> io::Result<()> {
        let (near, _far) = pair()?;
        let maker = maker_of_other_end(near.as_fd())?;
        assert_eq!((maker.id, maker.user), (std::process::id(), super::super::user::current()));
        assert!(maker.process.is_some());
        let (connection, id) = connection_of_exited_process()?;
        let maker = maker_of_other_end(connection.as_fd())?;
        assert_eq!(maker.id, id);
        assert!(maker.process.is_none() && maker.has_exited);
        Ok(())
    }

    /// The receiver looks while the sender sends and closes, again and again: each packet comes before the end of file.
    #[test]
    fn last_packet_is_received_before_end_of_file() -> io::Result<()> {
        let started = std::time::Instant::now();
        let (to_sender, far_ends) = std::sync::mpsc::channel::<Owned>();
        let sender = std::thread::spawn(move || {
            far_ends.iter().try_for_each(|far| send(far.as_fd(), b"last", &[]).map(drop))
        });
        for round in 0..30_000 {
            let (near, far) = pair()?;
            to_sender.send(far).map_err(io::Error::other)?;
            let (mut buffer, mut received) = (Vec::new(), None);
            while received.is_none() {
                assert!(started.elapsed() < Duration::from_secs(60), "nothing arrives");
                received = receive(near.as_fd(), &mut buffer, 4, Look::Once)?;
            }
            assert_eq!(buffer, b"last", "round {round}: {received:?}");
            let end = receive(near.as_fd(), &mut buffer, 4, Look::Wait)?;
            assert_eq!(end.map(|end| end.length), Some(0));
        }
        drop(to_sender);
        sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
        Ok(())
    }

    #[cfg(feature = "faults")]
    mod on_other_kernels {
        use super::*;
        use crate::faults::{Turn, taking};

        /// Returns the peer on a kernel that answers the query for the process's descriptor with this error.
        fn peer_if_query_fails(socket: &Owned, code: Errno, more: Option<Turn>) -> SysResult<Maker> {
            let mut turns = vec![Turn::fails("getsockopt", 1..2, code.raw_os_error())];
            turns.extend(more);
            let (maker, were_taken) = taking(turns, || maker_of_other_end(socket.as_fd()));
            assert!(were_taken);
            maker
        }

        #[test]
        fn without_peer_pidfd_the_process_is_opened_by_id_while_the_connection_is_up() -> io::Result<()> {
            let (near, far) = pair()?;
            assert!(peer_if_query_fails(&near, Errno::NOPROTOOPT, None)?.process.is_some());
            let fails = |code: Errno| Some(Turn::fails("pidfd_open", 0..1, code.raw_os_error()));
            assert!(peer_if_query_fails(&near, Errno::NOPROTOOPT, fails(Errno::SRCH))?.process.is_none());
            let error = peer_if_query_fails(&near, Errno::NOPROTOOPT, fails(Errno::MFILE))
                .expect_err("it isn't known");
            assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
            drop(far);
            let peer = peer_if_query_fails(&near, Errno::NOPROTOOPT, None)?;
            assert!(peer.process.is_none(), "it may be another process");
            assert!(!peer.has_exited, "a process with its id runs");
            Ok(())
        }

        /// A process of another PID namespace has the id zero.
        #[test]
        fn process_without_an_id_is_not_said_to_have_exited() -> io::Result<()> {
            let (near, _far) = pair()?;
            let turn = Turn::fails("getsockopt", 0..1, Errno::NOPROTOOPT.raw_os_error());
            let (maker, was_taken) = taking([turn], || maker_with_id(1, 0, near.as_fd()));
            let maker = maker?;
            assert!(was_taken && maker.process.is_none() && !maker.has_exited, "{maker:?}");
            Ok(())
        }

        #[test]
        fn peer_that_was_waited_for_is_none_and_other_errors_are_returned() -> io::Result<()> {
            let (near, _far) = pair()?;
            for code in [Errno::SRCH, Errno::INVAL, Errno::NODATA] {
                assert!(peer_if_query_fails(&near, code, None)?.process.is_none(), "{code}");
            }
            let error = peer_if_query_fails(&near, Errno::MFILE, None).expect_err("it isn't known");
            assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
            Ok(())
        }
    }
}
