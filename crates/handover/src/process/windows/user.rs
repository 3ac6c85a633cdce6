//! `User`: a Windows user's security identifier.

use std::fmt;
use std::os::windows::io::AsHandle;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys;
use crate::sys::token::of_process;

/// A user, identified by the security identifier (SID), such as `S-1-5-21-…`.
///
/// [Security identifiers](https://learn.microsoft.com/windows/win32/secauthz/security-identifiers)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(alias = "SID")]
pub struct User(Box<str>);

impl User {
    /// Returns the user that this process runs as.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system call fails.
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<User> = OnceLock::new();
        if let Some(user) = CURRENT.get() {
            return Ok(user.clone());
        }
        let sid = of_process(sys::process::current())
            .map_err(|error| Error::system("this process's user", error))?;
        Ok(CURRENT.get_or_init(|| Self(sid.into())).clone())
    }

    /// Returns the security identifier as text.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.0
    }
}

impl Process {
    /// Returns the user that the process runs as.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to query it, or the process has exited.
    ///
    /// [`GetTokenInformation`](https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-gettokeninformation)
    #[doc(alias = "GetTokenInformation")]
    pub fn user(&self) -> Result<User> {
        let sid = of_process(self.as_handle()).map_err(self.failed())?;
        Ok(User(sid.into()))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for User {
    type Err = Error;

    /// Parses a security identifier in its usual form, such as `S-1-5-18`.
    fn from_str(text: &str) -> Result<Self> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = text.split('-');
        if parts.next() == Some("S") && parts.clone().count() >= 2 && parts.all(is_number) {
            return Ok(Self(text.into()));
        }
        Err(Error::invalid(
            format!("{text:?}"),
            "is not a user; expected a security identifier such as S-1-5-18",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_parses_only_a_security_identifier() -> Result<()> {
        let current = User::current()?;
        assert_eq!(current.sid().parse::<User>()?, current);
        assert_ne!("S-1-5-18".parse::<User>()?.to_string(), "");
        for text in ["", "S", "S-", "S-1", "S-1-", "s-1-5", "S-1-5-x", "Administrator"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
        Ok(())
    }
}
