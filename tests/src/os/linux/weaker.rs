//! A channel's endpoint, without the library, for programs that break the protocol: a Unix socket.

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

/// The name of a child's endpoint in its manifest, which users cannot use.
pub const RESERVED_NAMES: [&str; 1] = ["handover/channel"];

/// The maximum number of descriptors that the kernel passes with one call.
const MAX_DESCRIPTORS: usize = 253;

/// The maximum length of the packets of a long frame. The format allows longer ones.
const PACKET: usize = 64 * 1024;

/// The bytes by which a listener accepts a client.
const WELCOME: &[u8] = b"HO\x01W";

/// A child's endpoint, or a client's.
#[derive(Debug)]
pub struct Endpoint {
    /// The socket.
    pub(crate) socket: BorrowedFd<'static>,
    /// Whether dropping this value closes the socket.
    is_own: Cell<bool>,
}

impl Endpoint {
    /// Returns the endpoint that this process inherited.
    ///
    /// # Panics
    ///
    /// Panics if it inherited none.
    #[must_use]
    pub fn inherited() -> Self {
        let [name] = RESERVED_NAMES;
        let manifest = std::env::var("HANDOVER_INHERITED").expect("the parent gave a manifest");
        let value = manifest.split(' ').find_map(|word| word.strip_suffix(name)?.strip_suffix('='));
        let socket = table::borrowed(value.expect("the parent gave it").parse().expect("a number"));
        Self { socket, is_own: Cell::new(false) }
    }

    /// Connects as an honest client does. Dropping the result closes it.
    ///
    /// # Errors
    ///
    /// Returns the system's error if there is no listener, and an error with the listener's answer if it doesn't
    /// accept.
    pub fn connect(listener: &str) -> io::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let socket = loop {
            match door::connect(listener) {
                // The queue of connections is full. The connect succeeds once the listener has accepted some.
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                outcome => break outcome?,
            }
        };
        let end = Self { socket: table::borrowed(table::value(&socket)), is_own: Cell::new(true) };
        // From now on the endpoint closes it by its number.
        std::mem::forget(socket);
        let mut answer = Vec::new();
        while answer.len() < WELCOME.len() && Instant::now() < deadline {
            match end.read(Duration::from_secs(20)) {
                Some(bytes) if !bytes.is_empty() => answer.extend(bytes),
                _ => break,
            }
        }
        if answer != WELCOME {
            return Err(io::Error::other(format!("the listener said {answer:?}")));
        }
        Ok(end)
    }

    /// Writes bytes as one packet, or as several if they are many. The descriptors go with the first one. Returns false if
    /// the write fails or times out.
    ///
    /// # Panics
    ///
    /// Panics if there are more descriptors than the kernel passes.
    #[must_use]
    pub fn write(&self, bytes: &[u8], objects: &[u32], time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let objects: Vec<BorrowedFd<'_>> = objects.iter().map(|value| table::borrowed(*value)).collect();
        let (mut rest, mut beside) = (bytes, objects.as_slice());
        while !rest.is_empty() {
            match send(self.socket, &rest[..rest.len().min(PACKET)], beside) {
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

    /// Reads one packet, of which it returns at most the first 64 KiB, and discards descriptors. Returns `None` on a timeout or an error.
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

    /// Closes the endpoint, while the process goes on.
    pub fn close(&self) {
        self.is_own.set(false);
        table::close_value(table::value(&self.socket));
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.is_own.get() {
            self.close();
        }
    }
}

/// Sends bytes as one packet, with descriptors beside it, without blocking.
///
/// # Errors
///
/// Returns the system's error.
///
/// # Panics
///
/// Panics if there are more descriptors than the kernel passes.
pub fn send(socket: impl AsFd, bytes: &[u8], beside: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !beside.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(beside)), "at most {MAX_DESCRIPTORS}");
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

/// Returns whether the socket becomes ready in time.
fn is_ready(socket: BorrowedFd<'_>, what: PollFlags, time: Duration) -> bool {
    let time = Timespec::try_from(time).expect("a short time");
    poll(&mut [PollFd::from_borrowed_fd(socket, what)], Some(&time)).is_ok_and(|ready| ready > 0)
}

/// The maximum number of bytes that stand for an object in a frame's table, besides its name: none.
pub const MAX_PLACE: usize = 0;

/// Returns the bytes that stand for an object in a frame's table: none, because descriptors travel beside the bytes.
#[must_use]
pub const fn place(_value: u32) -> Vec<u8> {
    Vec::new()
}
