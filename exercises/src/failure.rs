//! The reasons for which a program stops before its last step.

use std::fmt;
use std::process::ExitStatus;

use handover::Error;

/// The exit code of a program whose deadline passed.
pub(crate) const LATE: u8 = 3;
/// The exit code of a program that got a mutex whose owner was killed.
const ABANDONED: u8 = 4;

/// The reason for which a program stops before its last step.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A call of the library failed.
    Call(Error),
    /// A pipe or another stream failed.
    Stream(std::io::Error),
    /// The child exited too early, or with an exit code other than 0.
    Child {
        /// The child's process id.
        id: u32,
        /// The child's exit status.
        status: ExitStatus,
        /// The step of the parent that the child should have waited for.
        before: &'static str,
    },
    /// The owner of a mutex exited without releasing it.
    Abandoned,
    /// The path of the child's program is unknown.
    NoProgram(String),
    /// A deadline passed.
    Late(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Call(Error::TimedOut { .. }) | Self::Late(_) => LATE,
            Self::Abandoned => ABANDONED,
            // The arguments that reach the library are handle values and names.
            Self::Call(Error::InvalidHandleValue { .. } | Error::InvalidInput { .. }) => 2,
            Self::Call(_) | Self::Stream(_) | Self::Child { .. } | Self::NoProgram(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Stream(error) => write!(f, "the pipe failed: {error}"),
            Self::Abandoned => f.write_str("the owner of the mutex exited without releasing it"),
            Self::Child { id, status, before } => {
                write!(f, "child {id} ended ({status}) before {before}")
            }
            Self::NoProgram(text) | Self::Late(text) => f.write_str(text),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Stream(error)
    }
}
