//! A channel's end in the hands of a program that doesn't play by the rules: a Unix socket.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{door, table};

/// The name under which a child gets its end; nobody else can use it.
pub const RESERVED_NAMES: [&str; 1] = ["handover/channel"];

/// The most descriptors that the kernel passes with one call.
const MOST_AT_ONCE: usize = 253;

/// What a listener says to a client that it lets in.
const WELCOME: &[u8] = b"HO\0\x01";

/// A child's end, as its environment names it, or a client's.
#[derive(Debug)]
pub struct End {
    /// The socket.
    pub(crate) socket: BorrowedFd<'static>,
    /// Whether it is this value's to close.
    is_own: Cell<bool>,
}

impl End {
    /// What the parent of this process gave.
    ///
    /// # Panics
    ///
    /// If it gave nothing.
    #[must_use]
    pub fn inherited() -> Self {
        let [name] = RESERVED_NAMES;
        let manifest = std::env::var("HANDOVER_INHERITED").expect("the parent gave a manifest");
        let value = manifest.split(' ').find_map(|word| word.strip_suffix(name)?.strip_suffix('='));
        let socket = table::borrowed(value.expect("the parent gave it").parse().expect("a number"));
        Self { socket, is_own: Cell::new(false) }
    }

    /// A client's, that comes in as an honest one does; it is closed when it is dropped.
    ///
    /// # Errors
    ///
    /// The system's, if there is no listener, or what it says instead.
    pub fn at_door(listener: &str) -> io::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let socket = loop {
            match door::knock(listener) {
                // Too many wait there. One that has nobody waiting to be let in blocks no longer.
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                outcome => break outcome?,
            }
        };
        let end = Self { socket: table::borrowed(table::value(&socket)), is_own: Cell::new(true) };
        // From here on it is closed by its number.
        std::mem::forget(socket);
        let mut came = Vec::new();
        while came.len() < WELCOME.len() && Instant::now() < deadline {
            match end.read(Duration::from_secs(20)) {
                Some(bytes) if !bytes.is_empty() => came.extend(bytes),
                _ => break,
            }
        }
        if came != WELCOME {
            return Err(io::Error::other(format!("the listener said {came:?}")));
        }
        Ok(end)
    }

    /// Writes so much of a frame, with these descriptors beside its first byte; false if it can't be done within this
    /// time.
    ///
    /// # Panics
    ///
    /// If it is asked for more descriptors than the kernel passes.
    #[must_use]
    pub fn write(&self, bytes: &[u8], objects: &[u32], time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let objects: Vec<BorrowedFd<'_>> = objects.iter().map(|value| table::borrowed(*value)).collect();
        let (mut rest, mut beside) = (bytes, objects.as_slice());
        while !rest.is_empty() {
            match send(self.socket, rest, beside) {
                Ok(written) => {
                    rest = &rest[written..];
                    beside = &[];
                }
                Err(Errno::AGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !is_ready(self.socket, PollFlags::OUT, left) {
                        return false;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Reads once, and throws away what comes beside; `None` if nothing comes within this time.
    #[must_use]
    pub fn read(&self, time: Duration) -> Option<Vec<u8>> {
        if !is_ready(self.socket, PollFlags::IN, time) {
            return None;
        }
        let mut stream = UnixStream::from(self.socket.try_clone_to_owned().ok()?);
        let mut buffer = vec![0; 64 * 1024];
        match stream.read(&mut buffer) {
            Ok(read) => {
                buffer.truncate(read);
                Some(buffer)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => None,
        }
    }

    /// Closes it, though the process lives on.
    pub fn close(&self) {
        self.is_own.set(false);
        table::close_value(table::value(&self.socket));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.is_own.get() {
            self.close();
        }
    }
}

/// Sends bytes with descriptors beside the first, without waiting.
///
/// # Errors
///
/// The system's.
///
/// # Panics
///
/// If there are more descriptors than the kernel passes.
pub fn send(socket: impl AsFd, bytes: &[u8], beside: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !beside.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(beside)), "at most {MOST_AT_ONCE}");
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

/// Whether that comes within this time.
fn is_ready(socket: BorrowedFd<'_>, what: PollFlags, time: Duration) -> bool {
    let time = Timespec::try_from(time).expect("a short time");
    poll(&mut [PollFd::from_borrowed_fd(socket, what)], Some(&time)).is_ok_and(|came| came > 0)
}

/// What stands in a frame's table for where an object is: nothing, it comes beside.
#[must_use]
pub const fn place(_value: u32) -> Vec<u8> {
    Vec::new()
}
