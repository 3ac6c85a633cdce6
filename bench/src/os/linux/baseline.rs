//! The floor: the same work in C.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use handover::{Child, Command, Event, HandleValue};

use crate::Outcome;
use crate::measure::{Way, timed};
use crate::receive::{ANSWER, DEADLINE};
use crate::spawn::settle;

unsafe extern "C" {
    fn floor_fork(program: *const c_char, objects: *const c_int, count: c_uint) -> c_int;
    fn floor_posix_spawn(program: *const c_char, objects: *const c_int, count: c_uint) -> c_int;
    fn floor_wait(child: c_int, milliseconds: c_uint) -> c_int;
    fn floor_pair(ends: *mut c_int) -> c_int;
    fn floor_hand_over(
        socket: c_int,
        objects: *const c_int,
        count: c_uint,
        length: c_uint,
        what: c_uint,
    ) -> c_int;
    fn floor_let_end(ends: *const c_int) -> c_int;
    fn floor_take_over(socket: c_int);
    fn floor_set(event: c_int) -> c_int;
    fn floor_await(event: c_int, milliseconds: c_uint) -> c_int;
    fn floor_echo(mine: c_int, theirs: c_int, milliseconds: c_uint);
    fn floor_let_inherit(object: c_int, inherit: c_int) -> c_int;
    fn floor_room(wanted: c_uint) -> c_uint;
    fn floor_stay() -> c_int;
    fn floor_memory() -> c_ulonglong;
}

/// As many handles as anything here needs.
pub(crate) const WANTED: usize = 101_000;

/// How many handles this process can have, after asking for so many.
pub(crate) fn room(wanted: usize) -> usize {
    let wanted = c_uint::try_from(wanted).unwrap_or(c_uint::MAX);
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
        // SAFETY: the descriptor is borrowed, so it is open.
        if unsafe { floor_let_inherit(event.as_fd().as_raw_fd(), c_int::from(inherit)) } == 0 {
            return Err(failed("fcntl"));
        }
    }
    Ok(())
}

/// Signals one event and waits for another.
pub(crate) fn set_and_wait(there: &Event, back: &Event) -> Outcome {
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: the descriptor is borrowed, so it is open.
    let is_set = unsafe { floor_set(there.as_fd().as_raw_fd()) } != 0;
    // SAFETY: likewise.
    let has_come = is_set && unsafe { floor_await(back.as_fd().as_raw_fd(), milliseconds) } != 0;
    if has_come { Ok(()) } else { Err(failed("signal")) }
}

/// As the other process: answers each signal.
pub(crate) fn echo() -> Outcome {
    let inherited = handover::inherited()?;
    let (there, back): (Event, Event) = (inherited.take("there")?, inherited.take("back")?);
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: both are owned, so they are open.
    unsafe { floor_echo(there.as_fd().as_raw_fd(), back.as_fd().as_raw_fd(), milliseconds) };
    Ok(())
}

fn failed(what: &str) -> Box<dyn std::error::Error> {
    format!("the floor's {what} failed: {}", std::io::Error::last_os_error()).into()
}

/// Starting the program with the objects, both ways that C has.
pub(crate) fn spawns<'a>(program: &Path, events: &'a [Event]) -> Vec<Way<'a>> {
    let program: Rc<CString> =
        Rc::new(CString::new(program.as_os_str().as_bytes()).expect("a path has no NUL"));
    let objects: Rc<[BorrowedFd<'a>]> = objects(events).into();
    let count = c_uint::try_from(objects.len()).expect("a few");
    let (again, same) = (Rc::clone(&program), Rc::clone(&objects));
    // SAFETY: the program's name ends with NUL; a borrowed descriptor is laid out as its number, they are open, and they
    // are as many as is said.
    let fork = move || unsafe { floor_fork(program.as_ptr(), objects.as_ptr().cast(), count) };
    // SAFETY: as above.
    let spawn = move || unsafe { floor_posix_spawn(again.as_ptr(), same.as_ptr().cast(), count) };
    vec![
        Way::new("C floor: posix_spawn", move || started(&spawn)),
        Way::new("C floor: fork, execve", move || started(&fork)),
    ]
}

fn started(spawn: &impl Fn() -> c_int) -> Outcome<Duration> {
    settle();
    let (time, child) = timed(|| Ok(spawn()))?;
    if child < 0 {
        return Err(failed("spawn"));
    }
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: the call takes numbers; the child is this process's own, and nobody has waited for it.
    if unsafe { floor_wait(child, milliseconds) } == 0 {
        return Err("the floor's child did not end well".into());
    }
    Ok(time)
}

/// Objects as C takes them.
pub(crate) fn objects(events: &[Event]) -> Vec<BorrowedFd<'_>> {
    events.iter().map(AsFd::as_fd).collect()
}

/// This program as the other process, over a bare socket.
#[derive(Debug)]
pub(crate) struct Bare {
    _child: Child,
    socket: OwnedFd,
}

impl Bare {
    pub(crate) fn start() -> Outcome<Self> {
        Self::start_with(false)
    }

    /// Those that are asked for something more than the bare calls are.
    pub(crate) fn start_others() -> Outcome<Vec<(&'static str, Self)>> {
        Ok(vec![("C floor, with a deadline", Self::start_with(true)?)])
    }

    fn start_with(can_end: bool) -> Outcome<Self> {
        let mut ends = [-1; 2];
        // SAFETY: there is room for the two answers.
        if unsafe { floor_pair(ends.as_mut_ptr()) } == 0 {
            return Err(failed("socketpair"));
        }
        // SAFETY: the two were made just now.
        if can_end && unsafe { floor_let_end(ends.as_ptr()) } == 0 {
            return Err(failed("setsockopt"));
        }
        // SAFETY: the call made the descriptor for its caller.
        let socket = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: likewise.
        let childs = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", "floor"]).arg_handle("{socket}").inherit("socket", &childs).kill_on_drop(true);
        Ok(Self { _child: command.spawn()?, socket })
    }

    /// Hands objects to the other process in a message of so many bytes.
    pub(crate) fn hand_over(&self, objects: &[BorrowedFd<'_>], length: usize, what: u8) -> Outcome {
        let (count, length) = (c_uint::try_from(objects.len())?, c_uint::try_from(length)?);
        assert!(count <= 253 && (8..=2 << 20).contains(&length), "what the C program has room for");
        let socket = self.socket.as_raw_fd();
        // SAFETY: the descriptors are borrowed, so they are open; a borrowed one is laid out as its number, and they are
        // as many as is said.
        let done =
            unsafe { floor_hand_over(socket, objects.as_ptr().cast(), count, length, c_uint::from(what)) };
        if done == 0 { Err(failed("hand-over")) } else { Ok(()) }
    }

    /// Sends so many bytes and waits for the answer.
    pub(crate) fn bytes(&self, length: usize) -> Outcome {
        self.hand_over(&[], length, ANSWER)
    }
}

/// As the other process: takes what comes and answers, until the socket is closed.
pub(crate) fn take_over() -> Outcome {
    // SAFETY: the parent let this process inherit the socket and passed its number, and nothing else here owns it.
    let socket: OwnedFd = unsafe { HandleValue::from_arg(3)?.adopt() }?;
    // SAFETY: the socket is owned, so it is open; what the other process says is trusted, as bare programs do.
    unsafe { floor_take_over(socket.as_raw_fd()) };
    Ok(())
}
