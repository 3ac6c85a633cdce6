//! `User`: a Linux user id.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys::io::HasHandle;
use crate::sys::{process, user as sys};

/// A user, identified by the user id.
///
/// [credentials(7)](https://man7.org/linux/man-pages/man7/credentials.7.html)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(alias = "uid_t")]
pub struct User(u32);

impl User {
    pub(crate) fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the user that this process runs as: its effective user id.
    ///
    /// # Errors
    ///
    /// Never fails on Linux. On Windows, the system call can fail.
    #[allow(clippy::unnecessary_wraps, reason = "it can fail on Windows")]
    pub fn current() -> Result<Self> {
        Ok(Self(sys::current()))
    }

    /// Returns the user id. Linux only.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0
    }
}

impl Process {
    /// Returns the user that the process runs as.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process has exited and its parent has waited for it; [`Error::System`] if the
    /// system call fails.
    ///
    /// [`pidfd_open(2)`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html) (`PIDFD_GET_INFO`);
    /// [`proc_pid_status(5)`](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html) before Linux 6.13
    #[doc(alias = "PIDFD_GET_INFO", alias = "/proc/pid/status")]
    pub fn user(&self) -> Result<User> {
        let user = process::user_of(self.handle(), self.id()).map_err(|source| {
            if process::is_missing(&source) {
                return Error::ProcessExited { pid: self.id(), context: "get the process's user".into() };
            }
            self.failed()(source)
        });
        user.map(User)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for User {
    type Err = Error;

    /// Parses a user id in decimal.
    fn from_str(text: &str) -> Result<Self> {
        // The standard parser would accept a leading plus sign.
        let number = if text.starts_with('+') { None } else { text.parse().ok() };
        let invalid =
            || Error::invalid(format!("{text:?}"), "is not a user; expected a user id, such as 1000");
        number.map(Self).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_parses_only_a_user_id() -> Result<()> {
        let current = User::current()?;
        assert_eq!(current.to_string().parse::<User>()?, current);
        assert_eq!("1000".parse::<User>()?.uid(), 1000);
        for text in ["", "-1", "+1", "root", "4294967296"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
        Ok(())
    }
}
