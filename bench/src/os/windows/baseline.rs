//! Calls the floor, which does the same work in C, and queries and sets properties of this process.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

use handover::{Child, Command, Event, HandleValue};

use crate::Outcome;
use crate::measure::{Way, settle, timed};
use crate::peer_process::DEADLINE;

unsafe extern "C" {
    fn floor_wait(process: *mut c_void, milliseconds: u32) -> i32;
    fn floor_pipe(from: *mut *mut c_void, to: *mut *mut c_void) -> i32;
    fn floor_hand_over(
        process: *mut c_void,
        to: *mut c_void,
        from: *mut c_void,
        objects: *const *mut c_void,
        count: u32,
        flags: u32,
    ) -> i32;
    fn floor_send_bytes(to: *mut c_void, from: *mut c_void, length: u32) -> i32;
    fn floor_set(event: *mut c_void) -> i32;
    fn floor_wait_for(event: *mut c_void, milliseconds: u32) -> i32;
    fn floor_echo(request: *mut c_void, response: *mut c_void, milliseconds: u32);
    fn floor_set_inheritable(object: *mut c_void, inherit: i32) -> i32;
    fn floor_raise_handle_limit(wanted: u32) -> u32;
    fn floor_pin_to_core() -> i32;
    fn floor_memory() -> u64;
    fn floor_receive(from: *mut c_void, to: *mut c_void);
    fn floor_spawn(program: *const u16, objects: *const *mut c_void, count: u32) -> *mut c_void;
}

/// The number of handles that the largest measurement needs.
pub(crate) const WANTED: usize = 101_000;

/// Raises this process's limit of open handles towards `wanted`, and returns how many of these it can have.
pub(crate) fn raise_handle_limit(wanted: usize) -> usize {
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    // SAFETY: `floor_raise_handle_limit` takes a number by value and accesses no memory of the caller.
    unsafe { floor_raise_handle_limit(wanted) as usize }
}

/// Pins this process and its children to one core. Does nothing on Windows: see `process.c`.
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
        // SAFETY: `event` is borrowed during the call, so its handle is open; the call changes only a flag of it.
        if unsafe { floor_set_inheritable(event.as_handle().as_raw_handle(), i32::from(inherit)) } == 0 {
            return Err(failed("SetHandleInformation"));
        }
    }
    Ok(())
}

/// Signals the event `request` and waits for the event `response`.
pub(crate) fn set_and_wait(request: &Event, response: &Event) -> Outcome {
    let milliseconds = u32::try_from(DEADLINE.as_millis())?;
    // SAFETY: `request` is borrowed during the call, so its handle is open.
    let is_set = unsafe { floor_set(request.as_handle().as_raw_handle()) } != 0;
    // SAFETY: `response` is borrowed during the call, so its handle is open.
    let is_answered =
        is_set && unsafe { floor_wait_for(response.as_handle().as_raw_handle(), milliseconds) } != 0;
    if is_answered { Ok(()) } else { Err(failed("SetEvent or WaitForSingleObject")) }
}

/// Runs as the other process: answers each signal with a signal.
pub(crate) fn echo() -> Outcome {
    let inherited = handover::inherited()?;
    let (request, response): (Event, Event) = (inherited.take("request")?, inherited.take("response")?);
    let milliseconds = u32::try_from(DEADLINE.as_millis())?;
    // SAFETY: `request` and `response` live until after the call, so their handles are open.
    unsafe {
        floor_echo(request.as_handle().as_raw_handle(), response.as_handle().as_raw_handle(), milliseconds);
    };
    Ok(())
}

/// Returns an error with the system's last error code.
fn failed(call: &str) -> Box<dyn std::error::Error> {
    format!("{call} failed in the floor: {}", std::io::Error::last_os_error()).into()
}

/// Returns the way that C has to start the program with the objects.
pub(crate) fn spawns<'a>(program: &Path, events: &'a [Event]) -> Vec<Way<'a>> {
    let program: Vec<u16> = program.as_os_str().encode_wide().chain(Some(0)).collect();
    let objects = objects(events);
    assert!(objects.len() <= 64, "the C code has space for 64 objects");
    vec![Way::new("C floor", move || {
        settle();
        let (time, process) = timed(|| spawn(&program, &objects))?;
        wait(&process, DEADLINE)?;
        Ok(time)
    })]
}

fn spawn(program: &[u16], objects: &[BorrowedHandle<'_>]) -> Outcome<OwnedHandle> {
    let count = u32::try_from(objects.len())?;
    // SAFETY: `program` ends with NUL. `objects` points to `count` elements, and a `BorrowedHandle` has the layout of a
    // HANDLE. The borrows keep the handles open. The caller has checked that the C code has space for `count` objects.
    let process = unsafe { floor_spawn(program.as_ptr(), objects.as_ptr().cast(), count) };
    if process.is_null() {
        return Err(failed("CreateProcess"));
    }
    // SAFETY: `floor_spawn` has just opened this handle for its caller, and no other value owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(process) })
}

/// Waits until a process exits.
fn wait(process: &OwnedHandle, timeout: Duration) -> Outcome {
    let milliseconds = u32::try_from(timeout.as_millis())?;
    // SAFETY: `process` is borrowed during the call, so its handle stays open until the wait returns.
    match unsafe { floor_wait(process.as_raw_handle(), milliseconds) } {
        0 => Err(format!("the child did not exit within {timeout:?}").into()),
        _ => Ok(()),
    }
}

/// Creates a pipe. Returns the handle to read from, and the handle to write to.
fn pipe() -> Outcome<(OwnedHandle, OwnedHandle)> {
    let (mut from, mut to) = (null_mut(), null_mut());
    // SAFETY: `from` and `to` are live variables, to which the call writes one handle each.
    if unsafe { floor_pipe(&raw mut from, &raw mut to) } == 0 {
        return Err(failed("CreatePipe"));
    }
    // SAFETY: `floor_pipe` has just opened this handle for its caller, and no other value owns it.
    let from = unsafe { OwnedHandle::from_raw_handle(from) };
    // SAFETY: `floor_pipe` has just opened this handle for its caller, and no other value owns it.
    Ok((from, unsafe { OwnedHandle::from_raw_handle(to) }))
}

/// Borrows the objects in the form that the C functions take.
pub(crate) fn objects(events: &[Event]) -> Vec<BorrowedHandle<'_>> {
    events.iter().map(AsHandle::as_handle).collect()
}

/// This program as the other process, with two plain pipes to it.
#[derive(Debug)]
pub(crate) struct FloorPeer {
    child: Child,
    to: OwnedHandle,
    from: OwnedHandle,
}

impl FloorPeer {
    /// Returns no variants: Windows has only the minimal floor.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "the same signature as on Linux, where starting variants can fail"
    )]
    pub(crate) fn start_variants() -> Outcome<Vec<(&'static str, Self)>> {
        Ok(Vec::new())
    }

    pub(crate) fn start() -> Outcome<Self> {
        let ((childs_from, to), (from, childs_to)) = (pipe()?, pipe()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", "floor"]).arg_handle("{from}").arg_handle("{to}").kill_on_drop(true);
        command.inherit("from", &childs_from).inherit("to", &childs_to);
        Ok(Self { child: command.spawn()?, to, from })
    }

    /// Sends objects to the other process. The message holds only its header and the handle values.
    pub(crate) fn send_objects(&self, objects: &[BorrowedHandle<'_>], _length: usize, flags: u8) -> Outcome {
        let count = u32::try_from(objects.len())?;
        assert!(count <= 253, "the C code has space for 253 objects");
        // SAFETY: `objects` points to `count` elements, and a `BorrowedHandle` has the layout of a HANDLE. The borrows
        // keep the handles open, and `self` owns the pipes. The assertion keeps `count` within the buffer of the C
        // code.
        let done = unsafe {
            floor_hand_over(
                self.child.process().as_handle().as_raw_handle(),
                self.to.as_raw_handle(),
                self.from.as_raw_handle(),
                objects.as_ptr().cast(),
                count,
                u32::from(flags),
            )
        };
        if done == 0 { Err(failed("DuplicateHandle, WriteFile or ReadFile")) } else { Ok(()) }
    }

    /// Sends `length` bytes and waits for the answer.
    pub(crate) fn send_bytes(&self, length: usize) -> Outcome {
        let length = u32::try_from(length)?;
        assert!((8..=2 << 20).contains(&length), "the size of the C code's buffer");
        // SAFETY: `self` owns the pipes, so their handles are open. The assertion keeps `length` within the C code's
        // buffer.
        let done = unsafe { floor_send_bytes(self.to.as_raw_handle(), self.from.as_raw_handle(), length) };
        if done == 0 { Err(failed("WriteFile or ReadFile")) } else { Ok(()) }
    }
}

/// Runs as the other process: receives messages and answers those that ask for it, until the pipe is closed.
pub(crate) fn receive() -> Outcome {
    // SAFETY: the parent let this process inherit both pipes and passed their values as arguments 3 and 4. Only this
    // function adopts these arguments, each once.
    let pipe = |index| unsafe { HandleValue::from_arg(index)?.adopt::<OwnedHandle>() };
    let (from, to) = (pipe(3)?, pipe(4)?);
    // SAFETY: `from` and `to` live until after the call, so their handles are open. The lengths in the messages are not
    // checked, but the sender is `FloorPeer`, which keeps them within the buffer.
    unsafe { floor_receive(from.as_raw_handle(), to.as_raw_handle()) };
    Ok(())
}
