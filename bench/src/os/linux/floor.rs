//! The floor: the same work in C.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_uint};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use handover::{Child, Command, Event, Told};

use crate::Outcome;
use crate::measure::{Way, timed};
use crate::spawn::{DEADLINE, settle};

unsafe extern "C" {
    fn floor_fork(program: *const c_char, objects: *const c_int, count: c_uint) -> c_int;
    fn floor_posix_spawn(program: *const c_char, objects: *const c_int, count: c_uint) -> c_int;
    fn floor_wait(child: c_int, milliseconds: c_uint) -> c_int;
    fn floor_pair(ends: *mut c_int) -> c_int;
    fn floor_hand_over(socket: c_int, objects: *const c_int, count: c_uint, length: c_uint) -> c_int;
    fn floor_take_over(socket: c_int);
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
        Way::new("C, fork and execve", move || started(&fork)),
        Way::new("C, posix_spawn", move || started(&spawn)),
    ]
}

fn started(spawn: &impl Fn() -> c_int) -> Outcome<Duration> {
    settle();
    let (time, child) = timed(|| Ok(spawn()))?;
    if child < 0 {
        return Err(format!("the floor's spawn failed: {}", std::io::Error::last_os_error()).into());
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
        let mut ends = [-1; 2];
        // SAFETY: there is room for the two answers.
        if unsafe { floor_pair(ends.as_mut_ptr()) } == 0 {
            return Err(format!("the floor's socketpair failed: {}", std::io::Error::last_os_error()).into());
        }
        // SAFETY: the call made the descriptor for its caller.
        let socket = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: likewise.
        let childs = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").arg_handle("{socket}").inherit("socket", &childs).kill_on_drop(true);
        Ok(Self { _child: command.spawn()?, socket })
    }

    /// Hands objects to the other process beside so many bytes, and waits for its answer.
    pub(crate) fn hand_over(&self, objects: &[BorrowedFd<'_>], length: usize) -> Outcome {
        let (count, length) = (c_uint::try_from(objects.len())?, c_uint::try_from(length)?);
        assert!((1..=253).contains(&count) && length <= 65_536, "what the C program has room for");
        let socket = self.socket.as_raw_fd();
        // SAFETY: the descriptors are borrowed, so they are open; a borrowed one is laid out as its number, and they are
        // as many as is said.
        let done = unsafe { floor_hand_over(socket, objects.as_ptr().cast(), count, length) };
        if done == 0 {
            return Err(format!("the floor's hand-over failed: {}", std::io::Error::last_os_error()).into());
        }
        Ok(())
    }
}

/// As the other process: takes what comes and answers, until the socket is closed.
pub(crate) fn take_over() -> Outcome {
    let socket: OwnedFd = Told::argument(2)?.adopt()?;
    // SAFETY: the socket is owned, so it is open; what the other process says is trusted, as bare programs do.
    unsafe { floor_take_over(socket.as_raw_fd()) };
    Ok(())
}
