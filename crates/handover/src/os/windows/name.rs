//! Names, who is let in to what has one, and creating and opening by them.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Held;
use crate::name::text::{objection, on_windows};
use crate::sys::named::{self, What};
use crate::sys::rights::Rights;
use crate::sys::text::wide;
use crate::sys::user::Protection;
use crate::{Access, AsName, Error, Found, Kind, Result, User};

/// The name of a kernel object, checked, and who is let in to an object that is created with it.
///
/// A name is found by the processes of one session ([`local`](Self::local), which a plain text means too) or by those
/// of all sessions of the machine ([`global`](Self::global)). All kinds of objects share one space of names, and case
/// matters.
///
/// An object that is created lets in the user of this process and nobody else; [`protected_by`](Self::protected_by)
/// says otherwise.
///
/// ```
/// use handover::{Event, Name, Reset};
///
/// let name = Name::local("my-app.ready")?;
/// let ready = Event::create_named(&name, Reset::Manual)?;
/// let same = Event::open_named("my-app.ready")?;
/// same.set()?;
/// assert!(ready.try_wait()?);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Object names](https://learn.microsoft.com/windows/win32/sync/object-names)
#[derive(Debug, Clone)]
pub struct Name {
    text: Box<str>,
    is_global: bool,
    security: Option<SecurityDescriptor>,
}

impl Name {
    /// A name that the processes of this session find: text that isn't empty, without backslash and NUL, of at most
    /// 253 characters.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`].
    pub fn local(text: &str) -> Result<Self> {
        Self::checked(text, false)
    }

    /// A name that the processes of all sessions find; at most 252 characters. Creating a section of such a name needs
    /// the privilege `SeCreateGlobalPrivilege`, which services and administrators have.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`].
    pub fn global(text: &str) -> Result<Self> {
        Self::checked(text, true)
    }

    fn checked(text: &str, is_global: bool) -> Result<Self> {
        let invalid = |why: &str| Err(Error::invalid(format!("the name {text:?} of an object"), why));
        let of_letters = "expected a name without backslash and NUL; Name::global has the prefix Global\\";
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

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Name {
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
pub struct SecurityDescriptor(Arc<Protection>);

impl SecurityDescriptor {
    /// Lets in the user that this process runs as, to everything, and nobody else. It inherits nothing from anywhere.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system doesn't tell who that is.
    pub fn current_user() -> Result<Self> {
        Self::from_sddl(&format!("D:P(A;;GA;;;{})", User::current()?))
    }

    /// From a text in the
    /// [security descriptor definition language](https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-definition-language).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system can't read it.
    #[doc(alias = "ConvertStringSecurityDescriptorToSecurityDescriptor")]
    pub fn from_sddl(text: &str) -> Result<Self> {
        if text.contains('\0') {
            return Err(Error::invalid(format!("the security descriptor {text:?}"), "has a NUL in it"));
        }
        let protection = Protection::from_sddl(text).map_err(|source| {
            Error::system("ConvertStringSecurityDescriptorToSecurityDescriptorW", format!("{text:?}"), source)
        })?;
        Ok(Self(Arc::new(protection)))
    }

    pub(crate) fn protection(&self) -> &Protection {
        &self.0
    }
}

/// Creates an object of this name, or opens the one that is there.
pub(crate) fn create_or_open(what: What, name: &(impl AsName + ?Sized)) -> Result<(Held, Found)> {
    let name = name.as_name()?;
    let security = match &name.security {
        Some(security) => security.clone(),
        None => SecurityDescriptor::current_user()?,
    };
    match named::create(what, Some((&name.path(), security.protection()))) {
        Ok((handle, was_there)) => {
            Ok((Held::created(handle), if was_there { Found::Opened } else { Found::Created }))
        }
        Err(error) if named::is_of_another_kind(&error) => Err(taken(&name)),
        // An object that doesn't let this user in, or names that this process mustn't create.
        Err(error) if named::is_refused(&error) && is_there(what, &name) => Err(taken(&name)),
        Err(source) => Err(Error::system(what.creating(), format!("the name {name}"), source)),
    }
}

/// Creates an object of this name; it is an error if anything has it.
pub(crate) fn create(what: What, name: &(impl AsName + ?Sized)) -> Result<Held> {
    match create_or_open(what, name)? {
        (held, Found::Created) => Ok(held),
        (_, Found::Opened) => Err(taken(&*name.as_name()?)),
    }
}

fn is_there(what: What, name: &Name) -> bool {
    match named::open(what, &name.path(), Access::SYNCHRONIZE) {
        Err(error) => !named::is_missing(&error),
        Ok(_) => true,
    }
}

fn taken(name: &Name) -> Error {
    Error::NameTaken { name: name.to_string() }
}

/// Opens the object of this name.
pub(crate) fn open(what: What, kind: Kind, name: &(impl AsName + ?Sized), rights: Rights) -> Result<Held> {
    let name = name.as_name()?;
    let access = rights.unwrap_or(Access::SYNCHRONIZE);
    let opened = named::open(what, &name.path(), access).map_err(|source| {
        if named::is_missing(&source) {
            return Error::NoSuchObject { name: name.to_string(), kind };
        }
        if named::is_of_another_kind(&source) {
            return Error::NameOfAnotherKind { name: name.to_string(), expected: kind };
        }
        Error::system(what.opening(), format!("the name {name} with the access {access}"), source)
    });
    opened.map(Held::received)
}

/// Creates an object without a name.
pub(crate) fn create_unnamed(what: What) -> Result<Held> {
    match named::create(what, None) {
        Ok((handle, _)) => Ok(Held::created(handle)),
        Err(source) => Err(Error::system(what.creating(), "an unnamed object".into(), source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_before_any_call() -> Result<()> {
        let refused = |text: &str, part: &str| {
            for error in [Name::local(text).expect_err(text), Name::global(text).expect_err(text)] {
                assert!(error.to_string().contains(part), "{error}");
            }
        };
        refused("", "is empty");
        refused("a\\b", "backslash");
        refused("Global\\a", "Name::global");
        refused("a\0b", "NUL");
        refused(&"n".repeat(254), "too long");
        refused(&"🦀".repeat(127), "too long");
        assert_eq!(Name::local(&"n".repeat(253))?.path().len(), 260);
        assert!(Name::global(&"n".repeat(253)).is_err());
        assert_eq!(Name::local("a b.ä")?.to_string(), "a b.ä");
        assert_eq!(Name::global("a b.ä")?.as_str(), "a b.ä");
        Ok(())
    }
}
