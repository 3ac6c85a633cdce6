//! The error of a system call, which names the call.

use std::fmt;
use std::io;
use std::ops::Deref;

/// The result of one or more system calls.
pub(crate) type SysResult<T> = Result<T, SysError>;

/// A failed system call: its documented name, and the system's answer.
///
/// An operation often takes several calls. The error carries the name of the one that failed from the place where it
/// was made, so no caller has to guess it.
#[derive(Debug)]
pub(crate) struct SysError {
    pub(crate) call: &'static str,
    pub(crate) source: io::Error,
}

impl SysError {
    pub(crate) fn new(call: &'static str, source: impl Into<io::Error>) -> Self {
        Self { call, source: source.into() }
    }

    /// An answer of the call that its documentation rules out.
    pub(crate) fn unexpected(call: &'static str, reason: &'static str) -> Self {
        Self::new(call, io::Error::other(reason))
    }

    /// Returns a function for `map_err` that names the call.
    pub(crate) fn of<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::new(call, source)
    }
}

impl Deref for SysError {
    type Target = io::Error;

    fn deref(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.source)
    }
}

#[cfg(test)]
impl From<SysError> for io::Error {
    /// For tests that mix calls of this module with std's. Elsewhere the name of the call would be lost.
    fn from(error: SysError) -> Self {
        error.source
    }
}
