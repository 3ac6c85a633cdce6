//! The Windows half: object names, security descriptors, and creating and opening objects by name.

mod single_instance;

pub use single_instance::SingleInstance;

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::access_names::words;
use crate::handle::{Access, ObjectKind, shortened};
use crate::name::text::{objection, on_windows};
use crate::name::{AsObjectName, CreateOutcome};
use crate::object::{ObjectHandle, description_of_new};
use crate::process::User;
use crate::sys::create_object::{self, What};
use crate::sys::rights::Rights;
use crate::sys::text::wide;
use crate::sys::token::{Protection, package};

/// The checked name of a kernel object, and the security descriptor for an object that is created with it.
///
/// The processes of one session find a [`local`](Self::local) name; a plain text means one too. The processes of all
/// sessions of the machine find a [`global`](Self::global) name. All kinds of objects and
/// [`SingleInstance`](crate::SingleInstance) share one namespace; a [`Listener`](crate::Listener) has its own. Names
/// are case-sensitive.
///
/// By default only the current user can open an object that is created with the name. To change that, call
/// [`protected_by`](Self::protected_by). The object and its name exist until the last handle to the object is closed.
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
    /// Creates a name that the processes of this session find.
    ///
    /// The text must not be empty, must not contain a backslash or a NUL, and can have at most 253 characters (UTF-16
    /// units).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the text can't be a name.
    pub fn local(text: &str) -> Result<Self> {
        Self::checked(text, false)
    }

    /// Creates a name that the processes of all sessions find. Windows only.
    ///
    /// The rules are those of [`local`](Self::local), but the text can have at most 252 characters. Creating shared
    /// memory under such a name needs the privilege `SeCreateGlobalPrivilege`, which services and administrators have.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the text can't be a name.
    ///
    /// [Kernel object namespaces](https://learn.microsoft.com/windows/win32/termserv/kernel-object-namespaces)
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn global(text: &str) -> Result<Self> {
        Self::checked(text, true)
    }

    fn checked(text: &str, is_global: bool) -> Result<Self> {
        let invalid = |reason: &str| {
            Err(Error::invalid(format!("the name {:?} of an object", shortened(text)), reason))
        };
        let invalid_character = "contains a backslash or a NUL; neither is allowed (for a name with the prefix \
            Global\\, call ObjectName::global)";
        if let Some(reason) = objection(text, invalid_character) {
            return invalid(reason);
        }
        if let Some(excess) = on_windows::excess(&on_windows::object(text, is_global)) {
            return invalid(&format!("is too long by {excess} characters; use a shorter name"));
        }
        Ok(Self { text: text.into(), is_global, security: None })
    }

    /// Sets the security descriptor for an object that is created with this name. Windows only.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn protected_by(mut self, security: SecurityDescriptor) -> Self {
        self.security = Some(security);
        self
    }

    /// Returns the name, without the prefix for its namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name with the prefix for its namespace.
    pub(crate) fn with_namespace(&self) -> String {
        on_windows::object(&self.text, self.is_global)
    }

    /// Returns the name with its prefix, as UTF-16 with a NUL, for system calls.
    fn path(&self) -> Vec<u16> {
        wide(OsStr::new(&self.with_namespace()))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    /// Creates a [local](Self::local) name.
    fn from_str(text: &str) -> Result<Self> {
        Self::local(text)
    }
}

/// The users that may open an object, and the rights of each.
///
/// Pass it to [`ObjectName::protected_by`]. Clones share one copy in memory.
///
/// [Security descriptors](https://learn.microsoft.com/windows/win32/secauthz/security-descriptors)
#[derive(Clone)]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct SecurityDescriptor(Arc<Protection>);

impl fmt::Debug for SecurityDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityDescriptor").finish_non_exhaustive()
    }
}

impl SecurityDescriptor {
    /// Creates a descriptor that gives all rights to the user that this process runs as, and no rights to other users.
    /// It inherits no entries from a container.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the current user can't be determined.
    pub fn current_user() -> Result<Self> {
        let failed = |error| Error::system("this process's package", error);
        // A process in an app container has access only where its package has it too.
        let package = package().map_err(failed)?.map(|package| format!("(A;;GA;;;{package})"));
        Self::from_sddl(&format!("D:P(A;;GA;;;{}){}", User::current()?, package.unwrap_or_default()))
    }

    /// Parses a text in the [security descriptor definition
    /// language](https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-definition-language) (SDDL).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system can't parse it; [`Error::InvalidInput`] if it contains a NUL.
    ///
    /// [`ConvertStringSecurityDescriptorToSecurityDescriptor`](https://learn.microsoft.com/windows/win32/api/sddl/nf-sddl-convertstringsecuritydescriptortosecuritydescriptorw)
    #[doc(alias = "ConvertStringSecurityDescriptorToSecurityDescriptor")]
    pub fn from_sddl(text: &str) -> Result<Self> {
        if text.contains('\0') {
            return Err(Error::invalid(format!("the security descriptor {text:?}"), "contains a NUL"));
        }
        let protection = Protection::from_sddl(text)
            .map_err(|error| Error::system(format!("the security descriptor {text:?}"), error))?;
        Ok(Self(Arc::new(protection)))
    }

    pub(crate) fn protection(&self) -> &Protection {
        &self.0
    }
}

/// Creates an object with this name, or opens the existing one.
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
        Ok((handle, existed)) => Ok((
            ObjectHandle::created(handle),
            if existed { CreateOutcome::Opened } else { CreateOutcome::Created },
        )),
        Err(error) if create_object::is_of_another_kind(&error) => {
            Err(Error::NameKindMismatch { name: name.to_string(), expected: what.kind(), found: None })
        }
        // Access is denied either because an existing object denies it to this user, or because this process may not
        // create such names. Only the first case is `NameInUse`.
        Err(error) if create_object::is_refused(&error) && is_in_use(what, &name) => Err(name_in_use(&name)),
        Err(error) => {
            let described = format!("{} with the name {:?}", description_of_new(what), name.as_str());
            Err(Error::system(described, error))
        }
    }
}

/// Creates an object with this name. Fails if any object already has it.
pub(crate) fn create(what: What, name: &(impl AsObjectName + ?Sized)) -> Result<ObjectHandle> {
    match create_or_open(what, name) {
        Ok((handle, CreateOutcome::Created)) => Ok(handle),
        Ok((_, CreateOutcome::Opened)) | Err(Error::NameKindMismatch { .. }) => {
            Err(name_in_use(&*name.as_name()?))
        }
        Err(other) => Err(other),
    }
}

/// Returns whether an object with this name exists.
fn is_in_use(what: What, name: &ObjectName) -> bool {
    match create_object::open(what, &name.path(), Access::SYNCHRONIZE) {
        Err(error) => !create_object::is_missing(&error),
        Ok(_) => true,
    }
}

fn name_in_use(name: &ObjectName) -> Error {
    Error::NameInUse { name: name.to_string() }
}

/// Opens the object with this name.
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
            return Error::NameKindMismatch { name: name.to_string(), expected: kind, found: None };
        }
        let rights = words(Some(&kind), access.bits());
        Error::system(format!("the {} {:?} with the rights {rights}", kind.name(), name.as_str()), error)
    });
    opened.map(ObjectHandle::received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_name_rejects_invalid_text() -> Result<()> {
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
