//! Names, who is let in to what has one, and creating and opening by them.

mod single_instance;

pub use single_instance::SingleInstance;

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::{Access, ObjectKind};
use crate::name::text::{objection, on_windows};
use crate::name::{AsObjectName, CreateOutcome};
use crate::object::ObjectHandle;
use crate::process::User;
use crate::sys::create_object::{self, What};
use crate::sys::rights::Rights;
use crate::sys::text::wide;
use crate::sys::token::Protection;

/// The name of a kernel object, checked, and who is let in to an object that is created with it.
///
/// A name is found by the processes of one session ([`local`](Self::local), which a plain text means too) or
/// by those of all sessions of the machine ([`global`](Self::global)). All kinds of objects share one space
/// of names, and case matters.
///
/// An object that is created lets in the user of this process and nobody else;
/// [`protected_by`](Self::protected_by) says otherwise.
///
/// ```
/// use handover::{Event, ObjectName, ResetMode};
///
/// let name = ObjectName::local("my-app.ready")?;
/// let ready = Event::create_named(&name, ResetMode::Manual)?;
/// let same = Event::open_named("my-app.ready")?;
/// same.set()?;
/// assert!(ready.try_wait()?);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Object names](https://learn.microsoft.com/windows/win32/sync/object-names)
#[derive(Debug, Clone)]
pub struct ObjectName {
    text: Box<str>,
    is_global: bool,
    security: Option<SecurityDescriptor>,
}

impl ObjectName {
    /// A name that the processes of this session find: text that isn't empty, without backslash and NUL, of
    /// at most 253 characters.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`].
    pub fn local(text: &str) -> Result<Self> {
        Self::checked(text, false)
    }

    /// A name that the processes of all sessions find; at most 252 characters. Creating a section of such a
    /// name needs the privilege `SeCreateGlobalPrivilege`, which services and administrators have.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`].
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn global(text: &str) -> Result<Self> {
        Self::checked(text, true)
    }

    fn checked(text: &str, is_global: bool) -> Result<Self> {
        let invalid = |why: &str| Err(Error::invalid(format!("the name {text:?} of an object"), why));
        let of_letters = "is invalid; expected a name without backslash and NUL (ObjectName::global adds the prefix Global\\)";
        if let Some(why) = objection(text, of_letters) {
            return invalid(why);
        }
        if let Some(excess) = on_windows::excess(&on_windows::object(text, is_global)) {
            return invalid(&format!("is too long by {excess} characters"));
        }
        Ok(Self { text: text.into(), is_global, security: None })
    }

    /// Lets in whom this descriptor says, to an object that is created with this name.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn protected_by(mut self, security: SecurityDescriptor) -> Self {
        self.security = Some(security);
        self
    }

    /// The name, without what says where it is found.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// With what says where it is found.
    pub(crate) fn with_space(&self) -> String {
        on_windows::object(&self.text, self.is_global)
    }

    /// As the API takes it.
    fn path(&self) -> Vec<u16> {
        wide(OsStr::new(&self.with_space()))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    /// A [local](Self::local) name.
    fn from_str(text: &str) -> Result<Self> {
        Self::local(text)
    }
}

/// Who may do what with an object.
///
/// [Security descriptors](https://learn.microsoft.com/windows/win32/secauthz/security-descriptors)
#[derive(Debug, Clone)]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct SecurityDescriptor(Arc<Protection>);

impl SecurityDescriptor {
    /// Lets in the user that this process runs as, to everything, and nobody else. It inherits nothing from
    /// anywhere.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system doesn't tell who that is.
    pub fn current_user() -> Result<Self> {
        Self::from_sddl(&format!("D:P(A;;GA;;;{})", User::current()?))
    }

    /// From a text in the [security descriptor definition
    /// language](https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-definition-language).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system can't read it.
    #[doc(alias = "ConvertStringSecurityDescriptorToSecurityDescriptor")]
    pub fn from_sddl(text: &str) -> Result<Self> {
        if text.contains('\0') {
            return Err(Error::invalid(format!("the security descriptor {text:?}"), "contains a NUL"));
        }
        let protection =
            Protection::from_sddl(text).map_err(|error| Error::system(format!("{text:?}"), error))?;
        Ok(Self(Arc::new(protection)))
    }

    pub(crate) fn protection(&self) -> &Protection {
        &self.0
    }
}

/// Creates an object of this name, or opens the one that is there.
pub(crate) fn create_or_open(
    what: What,
    name: &(impl AsObjectName + ?Sized),
) -> Result<(ObjectHandle, CreateOutcome)> {
    let name = name.as_name()?;
    let security = match &name.security {
        Some(security) => security.clone(),
        None => SecurityDescriptor::current_user()?,
    };
    match create_object::create(what, Some((&name.path(), security.protection()))) {
        Ok((handle, was_there)) => Ok((
            ObjectHandle::created(handle),
            if was_there { CreateOutcome::Opened } else { CreateOutcome::Created },
        )),
        Err(error) if create_object::is_of_another_kind(&error) => Err(taken(&name)),
        // An object that doesn't let this user in, or names that this process mustn't create.
        Err(error) if create_object::is_refused(&error) && is_there(what, &name) => Err(taken(&name)),
        Err(error) => Err(Error::system(format!("the name {name}"), error)),
    }
}

/// Creates an object of this name; it is an error if anything has it.
pub(crate) fn create(what: What, name: &(impl AsObjectName + ?Sized)) -> Result<ObjectHandle> {
    match create_or_open(what, name)? {
        (held, CreateOutcome::Created) => Ok(held),
        (_, CreateOutcome::Opened) => Err(taken(&*name.as_name()?)),
    }
}

fn is_there(what: What, name: &ObjectName) -> bool {
    match create_object::open(what, &name.path(), Access::SYNCHRONIZE) {
        Err(error) => !create_object::is_missing(&error),
        Ok(_) => true,
    }
}

fn taken(name: &ObjectName) -> Error {
    Error::NameInUse { name: name.to_string() }
}

/// Opens the object of this name.
pub(crate) fn open(
    what: What,
    kind: ObjectKind,
    name: &(impl AsObjectName + ?Sized),
    rights: Rights,
) -> Result<ObjectHandle> {
    let name = name.as_name()?;
    let access = rights.unwrap_or(Access::SYNCHRONIZE);
    let opened = create_object::open(what, &name.path(), access).map_err(|error| {
        if create_object::is_missing(&error) {
            return Error::ObjectNotFound { name: name.to_string(), expected: kind };
        }
        if create_object::is_of_another_kind(&error) {
            return Error::NameKindMismatch { name: name.to_string(), expected: kind };
        }
        Error::system(format!("the name {name} with the access {access}"), error)
    });
    opened.map(ObjectHandle::received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_before_any_call() -> Result<()> {
        let refused = |text: &str, part: &str| {
            for error in [ObjectName::local(text).expect_err(text), ObjectName::global(text).expect_err(text)]
            {
                assert!(error.to_string().contains(part), "{error}");
            }
        };
        refused("", "is empty");
        refused("a\\b", "backslash");
        refused("Global\\a", "Name::global");
        refused("a\0b", "NUL");
        refused(&"n".repeat(254), "too long");
        refused(&"🦀".repeat(127), "too long");
        assert_eq!(ObjectName::local(&"n".repeat(253))?.path().len(), 260);
        assert!(ObjectName::global(&"n".repeat(253)).is_err());
        assert_eq!(ObjectName::local("a b.ä")?.to_string(), "a b.ä");
        assert_eq!(ObjectName::global("a b.ä")?.as_str(), "a b.ä");
        Ok(())
    }
}
