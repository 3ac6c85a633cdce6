//! Users.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys::io::HasHandle;
use crate::sys::{process, user as sys};

/// A user, by the number that the system has for it.
///
/// [credentials(7)](https://man7.org/linux/man-pages/man7/credentials.7.html)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(alias = "uid_t")]
pub struct User(u32);

impl User {
    pub(crate) fn new(number: u32) -> Self {
        Self(number)
    }

    /// The user that this process acts as.
    ///
    /// # Errors
    ///
    /// None here; on Windows the system can fail to tell.
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub fn current() -> Result<Self> {
        Ok(Self(sys::current()))
    }

    /// The number. Linux only.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0
    }
}

impl Process {
    /// The user that the process acts as.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process has ended and its parent has waited for it; [`Error::System`] if the system
    /// doesn't tell.
    #[doc(alias = "/proc/pid/status")]
    pub fn user(&self) -> Result<User> {
        let asked = sys::of_process(self.id());
        // If it is known to the system now, nobody else had its id a moment ago.
        process::check_known(self.handle()).map_err(|source| {
            if process::is_missing(&source) {
                return Error::ProcessExited { pid: self.id(), context: "ask for its user".into() };
            }
            self.failed()(source)
        })?;
        asked.map(User).map_err(self.failed())
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for User {
    type Err = Error;

    /// Reads the number.
    fn from_str(text: &str) -> Result<Self> {
        // The standard parser takes a sign.
        let number = if text.starts_with('+') { None } else { text.parse().ok() };
        let invalid =
            || Error::invalid(format!("{text:?}"), "is not a user; expected the user's number, such as 1000");
        number.map(Self).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number() -> Result<()> {
        let current = User::current()?;
        assert_eq!(current.to_string().parse::<User>()?, current);
        assert_eq!("1000".parse::<User>()?.uid(), 1000);
        for text in ["", "-1", "+1", "root", "4294967296"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
        Ok(())
    }
}
