//! What a program does to itself with calls that neither std nor rustix has.
//!
//! Unsafe, like the library's `sys`, for the same reason: these are system calls.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::time::Duration;

/// No longer hears of its children's ends.
pub(super) fn ignore_children() {
    // SAFETY: no handler is installed, so no code of ours runs in one.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// A copy of this process that sleeps for this time and ends. Says its id.
pub(super) fn copy_that_sleeps(time: Duration) -> u32 {
    // SAFETY: the copy makes only calls that are allowed where other threads' locks may be held for ever.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    if id == 0 {
        std::thread::sleep(time);
        // SAFETY: the call only ends the copy.
        unsafe { libc::_exit(0) };
    }
    id.unsigned_abs()
}

fn only(signal: i32) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the place is live, and the call fills it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled just now.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set was filled just now.
    unsafe { set.assume_init() }
}

/// Lets SIGTERM in, and it ends the process, whatever whoever has started this program thought of it.
pub(super) fn let_term_in() {
    let set = only(libc::SIGTERM);
    // SAFETY: the set lives through the call, and the old one isn't asked for.
    let outcome = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, null_mut()) };
    assert_eq!(outcome, 0);
    // SAFETY: no handler is installed, so no code of ours runs in one.
    let before = unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Keeps SIGTERM from this thread until it asks.
pub(super) fn block_term() {
    let set = only(libc::SIGTERM);
    // SAFETY: the set lives through the call, and the old one isn't asked for.
    let outcome = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut()) };
    assert_eq!(outcome, 0);
}

/// Whether SIGTERM comes to this thread within two seconds.
pub(super) fn term_comes() -> bool {
    let (set, time) = (only(libc::SIGTERM), libc::timespec { tv_sec: 2, tv_nsec: 0 });
    // SAFETY: both live through the call, and what is known of the signal isn't asked for.
    let came = unsafe { libc::sigtimedwait(&raw const set, null_mut(), &raw const time) };
    came == libc::SIGTERM
}
