//! The error of a failed system call, with the call's name.

use std::fmt;
use std::io;
use std::ops::Deref;

/// The result of one or more system calls.
pub(crate) type SysResult<T> = Result<T, SysError>;

/// A failed system call: its documented name and the system's error.
///
/// One operation often makes several calls. The code that makes a call puts the call's name into the error, so that
/// callers know which one failed.
#[derive(Debug)]
pub(crate) struct SysError {
    pub(crate) call: &'static str,
    pub(crate) source: io::Error,
}

impl SysError {
    pub(crate) fn new(call: &'static str, source: impl Into<io::Error>) -> Self {
        Self { call, source: source.into() }
    }

    /// Creates the error for a result that the call's documentation rules out.
    pub(crate) fn unexpected(call: &'static str, reason: &'static str) -> Self {
        Self::new(call, io::Error::other(reason))
    }

    /// Returns a closure for `map_err` that adds the name of the call to an error.
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
    /// Drops the name of the call. It exists only for tests that mix calls of this module with std's.
    fn from(error: SysError) -> Self {
        error.source
    }
}
