//! The floor: the same work in C.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

use handover::{Event, Process};

unsafe extern "C" {
    fn floor_wait(process: *mut c_void, milliseconds: u32) -> i32;
    fn floor_pipe(from: *mut *mut c_void, to: *mut *mut c_void) -> i32;
    fn floor_hand_over(
        process: *mut c_void,
        to: *mut c_void,
        from: *mut c_void,
        objects: *const *mut c_void,
        count: u32,
    ) -> i32;
    fn floor_take_over(from: *mut c_void, to: *mut c_void);
    fn floor_spawn(program: *const u16, objects: *const *mut c_void, count: u32) -> *mut c_void;
}

/// A program and objects, as C takes them.
#[derive(Debug)]
pub(crate) struct Floor {
    program: Vec<u16>,
    objects: Vec<*mut c_void>,
}

impl Floor {
    pub(crate) fn new(program: &Path, events: &[Event]) -> Self {
        assert!(events.len() <= 64, "the C program has room for 64");
        Self {
            program: program.as_os_str().encode_wide().chain(Some(0)).collect(),
            objects: events.iter().map(|event| event.as_handle().as_raw_handle()).collect(),
        }
    }

    /// Starts the program with the objects.
    pub(crate) fn spawn(&self) -> OwnedHandle {
        let count = u32::try_from(self.objects.len()).expect("at most 64");
        // SAFETY: the program's name ends with NUL; the objects are as many as is said, and their owners outlive this.
        let process = unsafe { floor_spawn(self.program.as_ptr(), self.objects.as_ptr(), count) };
        assert!(!process.is_null(), "the floor's CreateProcess failed: {}", std::io::Error::last_os_error());
        // SAFETY: the function made the handle for its caller.
        unsafe { OwnedHandle::from_raw_handle(process) }
    }
}

/// Waits for a process's end.
pub(crate) fn wait(process: &OwnedHandle, deadline: Duration) {
    let milliseconds = u32::try_from(deadline.as_millis()).expect("a short time");
    // SAFETY: the handle is borrowed, so it stays open through the wait.
    let ended = unsafe { floor_wait(process.as_raw_handle(), milliseconds) };
    assert_ne!(ended, 0, "the child did not end within {deadline:?}");
}

/// The two ends of a pipe, the one to read from first.
pub(crate) fn pipe() -> (OwnedHandle, OwnedHandle) {
    let (mut from, mut to) = (null_mut(), null_mut());
    // SAFETY: both are live places for the answers.
    let made = unsafe { floor_pipe(&raw mut from, &raw mut to) };
    assert_ne!(made, 0, "the floor's CreatePipe failed: {}", std::io::Error::last_os_error());
    // SAFETY: the function made the handle for its caller.
    let from = unsafe { OwnedHandle::from_raw_handle(from) };
    // SAFETY: likewise.
    (from, unsafe { OwnedHandle::from_raw_handle(to) })
}

/// Hands objects to a process and waits for its answer.
pub(crate) fn hand_over(
    process: &Process,
    to: &OwnedHandle,
    from: &OwnedHandle,
    objects: &[BorrowedHandle<'_>],
) {
    let count = u32::try_from(objects.len()).expect("at most 253");
    assert!(count <= 253, "the C program has room for 253");
    // SAFETY: the handles are borrowed, so they are open; a borrowed handle is laid out as the handle, and they are as
    // many as is said.
    let done = unsafe {
        floor_hand_over(
            process.as_handle().as_raw_handle(),
            to.as_raw_handle(),
            from.as_raw_handle(),
            objects.as_ptr().cast(),
            count,
        )
    };
    assert_ne!(done, 0, "the floor's hand-over failed: {}", std::io::Error::last_os_error());
}

/// Takes what comes and answers, until the pipe ends.
pub(crate) fn take_over(from: &OwnedHandle, to: &OwnedHandle) {
    // SAFETY: the pipes are borrowed, so they are open; what the other process says is trusted, as bare programs do.
    unsafe { floor_take_over(from.as_raw_handle(), to.as_raw_handle()) };
}
