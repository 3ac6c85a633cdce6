//! What a new process does before it is the program, as its parent plans it.

use std::ffi::CString;
use std::os::fd::RawFd;

use super::io::Owned;

/// What is done in the new process.
pub(crate) struct Plan {
    pub(crate) program: CString,
    pub(crate) arguments: Vec<CString>,
    /// Each `name=value`.
    pub(crate) variables: Vec<CString>,
    /// Which of the variables has the new process's id in it, and from which byte on: as many digits as [`ID`].
    pub(crate) id: Option<(usize, usize)>,
    /// The descriptors that the program gets beside its three streams: which, and under which number.
    pub(crate) inherit: Vec<(RawFd, RawFd)>,
    /// Its three streams.
    pub(crate) streams: [Stream; 3],
    /// The signals that are blocked in it.
    pub(crate) blocked: libc::sigset_t,
    pub(crate) directory: Option<CString>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) process_group: Option<i32>,
    /// Whether the system ends the child with the thread that starts it; this is the id of its process.
    pub(crate) ends_with: Option<u32>,
}

/// What the program has as one of its streams.
#[derive(Debug)]
pub(crate) enum Stream {
    Nothing,
    /// This process's own.
    Same,
    /// What this descriptor is for, which isn't one of the first three.
    Copy(Owned),
}

/// What stands for the new process's id until it is known.
pub(crate) const ID: &str = "0000000000";
