//! The floor: the same work in C.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

use handover::{Child, Command, Event, Told};

use crate::Outcome;
use crate::measure::{Way, timed};
use crate::spawn::{DEADLINE, settle};

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

/// Starting the program with the objects, as C does it.
pub(crate) fn spawns<'a>(program: &Path, events: &'a [Event]) -> Vec<Way<'a>> {
    let program: Vec<u16> = program.as_os_str().encode_wide().chain(Some(0)).collect();
    let objects = objects(events);
    assert!(objects.len() <= 64, "the C program has room for 64");
    vec![Way::new("C floor", move || {
        settle();
        let (time, process) = timed(|| spawn(&program, &objects))?;
        wait(&process, DEADLINE)?;
        Ok(time)
    })]
}

fn spawn(program: &[u16], objects: &[BorrowedHandle<'_>]) -> Outcome<OwnedHandle> {
    let count = u32::try_from(objects.len())?;
    // SAFETY: the program's name ends with NUL; a borrowed handle is laid out as the handle, they are open, and they are
    // as many as is said.
    let process = unsafe { floor_spawn(program.as_ptr(), objects.as_ptr().cast(), count) };
    if process.is_null() {
        return Err(format!("the floor's CreateProcess failed: {}", std::io::Error::last_os_error()).into());
    }
    // SAFETY: the function made the handle for its caller.
    Ok(unsafe { OwnedHandle::from_raw_handle(process) })
}

/// Waits for a process's end.
fn wait(process: &OwnedHandle, deadline: Duration) -> Outcome {
    let milliseconds = u32::try_from(deadline.as_millis())?;
    // SAFETY: the handle is borrowed, so it stays open through the wait.
    match unsafe { floor_wait(process.as_raw_handle(), milliseconds) } {
        0 => Err(format!("the child did not end within {deadline:?}").into()),
        _ => Ok(()),
    }
}

/// The two ends of a pipe, the one to read from first.
fn pipe() -> Outcome<(OwnedHandle, OwnedHandle)> {
    let (mut from, mut to) = (null_mut(), null_mut());
    // SAFETY: both are live places for the answers.
    if unsafe { floor_pipe(&raw mut from, &raw mut to) } == 0 {
        return Err(format!("the floor's CreatePipe failed: {}", std::io::Error::last_os_error()).into());
    }
    // SAFETY: the function made the handle for its caller.
    let from = unsafe { OwnedHandle::from_raw_handle(from) };
    // SAFETY: likewise.
    Ok((from, unsafe { OwnedHandle::from_raw_handle(to) }))
}

/// Objects as C takes them.
pub(crate) fn objects(events: &[Event]) -> Vec<BorrowedHandle<'_>> {
    events.iter().map(AsHandle::as_handle).collect()
}

/// This program as the other process, over bare pipes.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    to: OwnedHandle,
    from: OwnedHandle,
}

impl Bare {
    pub(crate) fn start() -> Outcome<Self> {
        let ((childs_from, to), (from, childs_to)) = (pipe()?, pipe()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").arg_handle("{from}").arg_handle("{to}").kill_on_drop(true);
        command.inherit("from", &childs_from).inherit("to", &childs_to);
        Ok(Self { child: command.spawn()?, to, from })
    }

    /// Hands objects to the other process and waits for its answer. The bytes are the values alone.
    pub(crate) fn hand_over(&self, objects: &[BorrowedHandle<'_>], _length: usize) -> Outcome {
        let count = u32::try_from(objects.len())?;
        assert!(count <= 253, "the C program has room for 253");
        // SAFETY: the handles are borrowed, so they are open; a borrowed handle is laid out as the handle, and they are
        // as many as is said.
        let done = unsafe {
            floor_hand_over(
                self.child.process().as_handle().as_raw_handle(),
                self.to.as_raw_handle(),
                self.from.as_raw_handle(),
                objects.as_ptr().cast(),
                count,
            )
        };
        if done == 0 {
            return Err(format!("the floor's hand-over failed: {}", std::io::Error::last_os_error()).into());
        }
        Ok(())
    }
}

/// As the other process: takes what comes and answers, until the pipe ends.
pub(crate) fn take_over() -> Outcome {
    let pipe = |place| Told::argument(place)?.adopt::<OwnedHandle>();
    let (from, to) = (pipe(2)?, pipe(3)?);
    // SAFETY: the pipes are owned, so they are open; what the other process says is trusted, as bare programs do.
    unsafe { floor_take_over(from.as_raw_handle(), to.as_raw_handle()) };
    Ok(())
}
