//! The floor: the same work in C.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::time::Duration;

use handover::Event;

unsafe extern "C" {
    fn floor_wait(process: *mut c_void, milliseconds: u32) -> i32;
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
