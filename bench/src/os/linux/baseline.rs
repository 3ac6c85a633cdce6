//! Calls the floor, which does the same work in C, and queries and sets properties of this process.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use handover::{Child, Command, Event, HandleValue};

use crate::Outcome;
use crate::measure::{Way, settle, timed};
use crate::peer_process::{ANSWER, DEADLINE};

unsafe extern "C" {
    fn floor_fork(program: *const c_char, objects: *const c_int, count: c_uint) -> c_int;
    fn floor_posix_spawn(program: *const c_char, objects: *const c_int, count: c_uint) -> c_int;
    fn floor_wait(child: c_int, milliseconds: c_uint) -> c_int;
    fn floor_pair(sockets: *mut c_int) -> c_int;
    fn floor_hand_over(
        socket: c_int,
        objects: *const c_int,
        count: c_uint,
        length: c_uint,
        flags: c_uint,
    ) -> c_int;
    fn floor_set_receive_timeout(sockets: *const c_int) -> c_int;
    fn floor_receive(socket: c_int);
    fn floor_set(event: c_int) -> c_int;
    fn floor_wait_for(event: c_int, milliseconds: c_uint) -> c_int;
    fn floor_echo(request: c_int, response: c_int, milliseconds: c_uint);
    fn floor_set_inheritable(object: c_int, inherit: c_int) -> c_int;
    fn floor_raise_handle_limit(wanted: c_uint) -> c_uint;
    fn floor_pin_to_core() -> c_int;
    fn floor_memory() -> c_ulonglong;
}

/// The number of handles that the largest measurement needs.
pub(crate) const WANTED: usize = 101_000;

/// Raises this process's limit of open handles towards `wanted`, and returns how many of these it can have.
pub(crate) fn raise_handle_limit(wanted: usize) -> usize {
    let wanted = c_uint::try_from(wanted).unwrap_or(c_uint::MAX);
    // SAFETY: `floor_raise_handle_limit` takes a number by value and accesses no memory of the caller.
    unsafe { floor_raise_handle_limit(wanted) as usize }
}

/// Pins this process and its children to one core.
pub(crate) fn pin_to_core() -> Outcome {
    // SAFETY: `floor_pin_to_core` has no arguments and accesses no memory of the caller.
    if unsafe { floor_pin_to_core() } == 0 { Err(failed("sched_setaffinity")) } else { Ok(()) }
}

/// Returns the resident memory of this process in bytes.
pub(crate) fn memory() -> u64 {
    // SAFETY: `floor_memory` has no arguments and accesses no memory of the caller.
    unsafe { floor_memory() }
}

/// Sets or clears whether children inherit these objects.
pub(crate) fn set_inheritable(events: &[Event], inherit: bool) -> Outcome {
    for event in events {
        // SAFETY: `event` is borrowed during the call, so its descriptor is open; the call changes only a flag of it.
        if unsafe { floor_set_inheritable(event.as_fd().as_raw_fd(), c_int::from(inherit)) } == 0 {
            return Err(failed("fcntl"));
        }
    }
    Ok(())
}

/// Signals the event `request` and waits for the event `response`.
pub(crate) fn set_and_wait(request: &Event, response: &Event) -> Outcome {
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: `request` is borrowed during the call, so its descriptor is open.
    let is_set = unsafe { floor_set(request.as_fd().as_raw_fd()) } != 0;
    // SAFETY: `response` is borrowed during the call, so its descriptor is open.
    let is_answered = is_set && unsafe { floor_wait_for(response.as_fd().as_raw_fd(), milliseconds) } != 0;
    if is_answered { Ok(()) } else { Err(failed("write or ppoll")) }
}

/// Runs as the other process: answers each signal with a signal.
pub(crate) fn echo() -> Outcome {
    let inherited = handover::inherited()?;
    let (request, response): (Event, Event) = (inherited.take("request")?, inherited.take("response")?);
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: `request` and `response` live until after the call, so their descriptors are open.
    unsafe { floor_echo(request.as_fd().as_raw_fd(), response.as_fd().as_raw_fd(), milliseconds) };
    Ok(())
}

/// Returns an error with the system's last error code.
pub(super) fn failed(call: &str) -> Box<dyn std::error::Error> {
    format!("{call} failed in the floor: {}", std::io::Error::last_os_error()).into()
}

/// Returns the two ways that C has to start the program with the objects.
pub(crate) fn spawns<'a>(program: &Path, events: &'a [Event]) -> Vec<Way<'a>> {
    let program: Rc<CString> =
        Rc::new(CString::new(program.as_os_str().as_bytes()).expect("a path has no NUL"));
    let objects: Rc<[BorrowedFd<'a>]> = objects(events).into();
    let count = c_uint::try_from(objects.len()).expect("the count fits into 32 bits");
    let (program_copy, objects_copy) = (Rc::clone(&program), Rc::clone(&objects));
    // SAFETY: `program` is a NUL-terminated string. `objects` points to `count` elements, and a `BorrowedFd` has the
    // layout of a `c_int`. The closure owns both, and the borrows keep the descriptors open.
    let fork = move || unsafe { floor_fork(program.as_ptr(), objects.as_ptr().cast(), count) };
    // SAFETY: `program_copy` is a NUL-terminated string. `objects_copy` points to `count` elements, and a `BorrowedFd`
    // has the layout of a `c_int`. The closure owns both, and the borrows keep the descriptors open.
    let spawn =
        move || unsafe { floor_posix_spawn(program_copy.as_ptr(), objects_copy.as_ptr().cast(), count) };
    vec![
        Way::new("C floor: posix_spawn", move || time_spawn(&spawn)),
        Way::new("C floor: fork, execve", move || time_spawn(&fork)),
    ]
}

fn time_spawn(spawn: &impl Fn() -> c_int) -> Outcome<Duration> {
    settle();
    let (time, child) = timed(|| Ok(spawn()))?;
    if child < 0 {
        return Err(failed("spawn"));
    }
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: `floor_wait` takes numbers by value. `child` is an unreaped child of this process, so its id is not
    // reused.
    if unsafe { floor_wait(child, milliseconds) } == 0 {
        return Err("the floor's child did not exit with code 0".into());
    }
    Ok(time)
}

/// Borrows the objects in the form that the C functions take.
pub(crate) fn objects(events: &[Event]) -> Vec<BorrowedFd<'_>> {
    events.iter().map(AsFd::as_fd).collect()
}

/// This program as the other process, with a plain socket to it.
#[derive(Debug)]
pub(crate) struct FloorPeer {
    _child: Child,
    socket: OwnedFd,
}

impl FloorPeer {
    pub(crate) fn start() -> Outcome<Self> {
        Self::start_with(false)
    }

    /// Starts the variants of the floor that do more than the minimal calls, and returns them with their names.
    pub(crate) fn start_variants() -> Outcome<Vec<(&'static str, Self)>> {
        Ok(vec![("C floor, with a timeout", Self::start_with(true)?)])
    }

    fn start_with(has_timeout: bool) -> Outcome<Self> {
        let mut sockets = [-1; 2];
        // SAFETY: `sockets` has space for the two descriptors that the call writes.
        if unsafe { floor_pair(sockets.as_mut_ptr()) } == 0 {
            return Err(failed("socketpair"));
        }
        // SAFETY: `sockets` holds two open descriptors, which the call only reads.
        if has_timeout && unsafe { floor_set_receive_timeout(sockets.as_ptr()) } == 0 {
            return Err(failed("setsockopt"));
        }
        // SAFETY: `floor_pair` has just created this descriptor for its caller, and no other value owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(sockets[0]) };
        // SAFETY: `floor_pair` has just created this descriptor for its caller, and no other value owns it.
        let child_socket = unsafe { OwnedFd::from_raw_fd(sockets[1]) };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--as", "floor"])
            .arg_handle("{socket}")
            .inherit("socket", &child_socket)
            .kill_on_drop(true);
        Ok(Self { _child: command.spawn()?, socket })
    }

    /// Sends objects to the other process in a message of `length` bytes.
    pub(crate) fn send_objects(&self, objects: &[BorrowedFd<'_>], length: usize, flags: u8) -> Outcome {
        hand_over(self.socket.as_fd(), objects, length, flags)
    }

    /// Sends `length` bytes and waits for the answer.
    pub(crate) fn send_bytes(&self, length: usize) -> Outcome {
        self.send_objects(&[], length, ANSWER)
    }
}

/// Sends objects over the socket in a message of `length` bytes.
pub(super) fn hand_over(
    socket: BorrowedFd<'_>,
    objects: &[BorrowedFd<'_>],
    length: usize,
    flags: u8,
) -> Outcome {
    let (count, length) = (c_uint::try_from(objects.len())?, c_uint::try_from(length)?);
    assert!(count <= 253 && (8..=2 << 20).contains(&length), "the sizes of the C code's buffers");
    let socket = socket.as_raw_fd();
    // SAFETY: `objects` points to `count` elements, and a `BorrowedFd` has the layout of a `c_int`. The borrows keep
    // the descriptors open. The assertion keeps `count` and `length` within the buffers of the C code.
    let done =
        unsafe { floor_hand_over(socket, objects.as_ptr().cast(), count, length, c_uint::from(flags)) };
    if done == 0 { Err(failed("sendmsg or recv")) } else { Ok(()) }
}

/// Runs as the other process: receives messages and answers those that ask for it, until the socket is closed.
pub(crate) fn receive() -> Outcome {
    // SAFETY: the parent let this process inherit the socket and passed its number as argument 3. Only this function
    // adopts that argument, and it runs once.
    let socket: OwnedFd = unsafe { HandleValue::from_arg(3)?.adopt() }?;
    // SAFETY: `socket` lives until after the call, so its descriptor is open. The lengths in the messages are not
    // checked, but the sender is `FloorPeer`, which keeps them within the buffer.
    unsafe { floor_receive(socket.as_raw_fd()) };
    Ok(())
}
