//! The floor: the same work in C.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

use handover::{Child, Command, Event, HandleValue};

use crate::Outcome;
use crate::measure::{Way, timed};
use crate::receive::DEADLINE;
use crate::spawn::settle;

unsafe extern "C" {
    fn floor_wait(process: *mut c_void, milliseconds: u32) -> i32;
    fn floor_pipe(from: *mut *mut c_void, to: *mut *mut c_void) -> i32;
    fn floor_hand_over(
        process: *mut c_void,
        to: *mut c_void,
        from: *mut c_void,
        objects: *const *mut c_void,
        count: u32,
        what: u32,
    ) -> i32;
    fn floor_bytes(to: *mut c_void, from: *mut c_void, length: u32) -> i32;
    fn floor_set(event: *mut c_void) -> i32;
    fn floor_await(event: *mut c_void, milliseconds: u32) -> i32;
    fn floor_echo(mine: *mut c_void, theirs: *mut c_void, milliseconds: u32);
    fn floor_let_inherit(object: *mut c_void, inherit: i32) -> i32;
    fn floor_room(wanted: u32) -> u32;
    fn floor_stay() -> i32;
    fn floor_memory() -> u64;
    fn floor_take_over(from: *mut c_void, to: *mut c_void);
    fn floor_spawn(program: *const u16, objects: *const *mut c_void, count: u32) -> *mut c_void;
}

/// As many handles as anything here needs.
pub(crate) const WANTED: usize = 101_000;

/// How many handles this process can have, after asking for so many.
pub(crate) fn room(wanted: usize) -> usize {
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    // SAFETY: the call takes a number.
    unsafe { floor_room(wanted) as usize }
}

/// Keeps this process and those that it starts on one core, where the system's own ways let that be.
pub(crate) fn stay() -> Outcome {
    // SAFETY: the call takes nothing.
    if unsafe { floor_stay() } == 0 { Err(failed("sched_setaffinity")) } else { Ok(()) }
}

/// The bytes of memory that this process occupies.
pub(crate) fn memory() -> u64 {
    // SAFETY: the call takes nothing.
    unsafe { floor_memory() }
}

/// Lets children inherit these objects, or no longer.
pub(crate) fn let_inherit(events: &[Event], inherit: bool) -> Outcome {
    for event in events {
        // SAFETY: the handle is borrowed, so it is open.
        if unsafe { floor_let_inherit(event.as_handle().as_raw_handle(), i32::from(inherit)) } == 0 {
            return Err(failed("SetHandleInformation"));
        }
    }
    Ok(())
}

/// Signals one event and waits for another.
pub(crate) fn set_and_wait(there: &Event, back: &Event) -> Outcome {
    let milliseconds = u32::try_from(DEADLINE.as_millis())?;
    // SAFETY: the handle is borrowed, so it is open.
    let is_set = unsafe { floor_set(there.as_handle().as_raw_handle()) } != 0;
    // SAFETY: likewise.
    let has_come = is_set && unsafe { floor_await(back.as_handle().as_raw_handle(), milliseconds) } != 0;
    if has_come { Ok(()) } else { Err(failed("signal")) }
}

/// As the other process: answers each signal.
pub(crate) fn echo() -> Outcome {
    let inherited = handover::inherited()?;
    let (there, back): (Event, Event) = (inherited.take("there")?, inherited.take("back")?);
    let milliseconds = u32::try_from(DEADLINE.as_millis())?;
    // SAFETY: both are owned, so they are open.
    unsafe { floor_echo(there.as_handle().as_raw_handle(), back.as_handle().as_raw_handle(), milliseconds) };
    Ok(())
}

fn failed(what: &str) -> Box<dyn std::error::Error> {
    format!("the floor's {what} failed: {}", std::io::Error::last_os_error()).into()
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
        return Err(failed("CreateProcess"));
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
        return Err(failed("CreatePipe"));
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
    /// Those that are asked for something more than the bare calls are.
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere there are some")]
    pub(crate) fn start_others() -> Outcome<Vec<(&'static str, Self)>> {
        Ok(Vec::new())
    }

    pub(crate) fn start() -> Outcome<Self> {
        let ((childs_from, to), (from, childs_to)) = (pipe()?, pipe()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", "floor"]).arg_handle("{from}").arg_handle("{to}").kill_on_drop(true);
        command.inherit("from", &childs_from).inherit("to", &childs_to);
        Ok(Self { child: command.spawn()?, to, from })
    }

    /// Hands objects to the other process. The bytes are the values alone.
    pub(crate) fn hand_over(&self, objects: &[BorrowedHandle<'_>], _length: usize, what: u8) -> Outcome {
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
                u32::from(what),
            )
        };
        if done == 0 { Err(failed("hand-over")) } else { Ok(()) }
    }

    /// Sends so many bytes and waits for the answer.
    pub(crate) fn bytes(&self, length: usize) -> Outcome {
        let length = u32::try_from(length)?;
        assert!((8..=2 << 20).contains(&length), "what the C program has room for");
        // SAFETY: the pipes are owned, so they are open.
        let done = unsafe { floor_bytes(self.to.as_raw_handle(), self.from.as_raw_handle(), length) };
        if done == 0 { Err(failed("WriteFile")) } else { Ok(()) }
    }
}

/// As the other process: takes what comes and answers, until the pipe ends.
pub(crate) fn take_over() -> Outcome {
    // SAFETY: the parent let this process inherit both pipes and passed their values, and nothing else here owns them.
    let pipe = |index| unsafe { HandleValue::from_arg(index)?.adopt::<OwnedHandle>() };
    let (from, to) = (pipe(3)?, pipe(4)?);
    // SAFETY: the pipes are owned, so they are open; what the other process says is trusted, as bare programs do.
    unsafe { floor_take_over(from.as_raw_handle(), to.as_raw_handle()) };
    Ok(())
}
