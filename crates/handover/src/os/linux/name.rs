//! Names, and creating and opening objects by them.
//!
//! The kernel has names for none of these objects. So whoever creates one with a name serves it to the other processes
//! of the user, and the name goes with the object that it has created.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Held;
use super::place::{Place, is_kept};
use super::serving::{self, Serving};
use crate::name::text::objection;
use crate::name::text::on_linux::Sort;
use crate::sys::handle;
use crate::sys::io::HasHandle;
use crate::sys::named::{self, What};
use crate::sys::rights::Rights;
use crate::wait::Deadline;
use crate::{AsName, Error, Found, Kind, Result};

/// The name of an object, checked.
///
/// The processes of this user find it, on this machine. All kinds of objects share one space of names, and case
/// matters. The kernel has no names for what is shared here, so the process that creates an object serves it to those
/// that open it: the name is gone with that process, or as soon as it drops the object, though others that have opened
/// it keep it. (On Windows, it is gone with the last handle.) Names of other users or sessions can't be had.
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
#[derive(Debug, Clone)]
pub struct Name(Box<str>);

impl Name {
    /// A name that the processes of this user find: text that isn't empty, without backslash and NUL. Some 70 bytes fit,
    /// fewer than on Windows, because it is a part of the path of a socket.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`]. That a name is too long shows when it is used.
    pub fn local(text: &str) -> Result<Self> {
        let invalid = |why: &str| Err(Error::invalid(format!("the name {text:?} of an object"), why));
        let of_letters = "expected a name without backslash and NUL, as it has to be on Windows too";
        match objection(text, of_letters) {
            Some(why) => invalid(why),
            None => Ok(Self(text.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Error;

    /// A [local](Self::local) name.
    fn from_str(text: &str) -> Result<Self> {
        Self::local(text)
    }
}

/// Creates an object without a name.
pub(crate) fn create_unnamed(what: What) -> Result<Held> {
    match named::create(what) {
        Ok(handle) => Ok(Held::created(handle, None)),
        Err(source) => Err(Error::system(what.creating(), "an unnamed object".into(), source)),
    }
}

/// Creates an object of this name; it is an error if anything has it.
pub(crate) fn create(what: What, name: &(impl AsName + ?Sized)) -> Result<Held> {
    let name = name.as_name()?;
    try_to_create(what, &name)?.ok_or_else(|| Error::NameTaken { name: name.to_string() })
}

/// Creates an object of this name, or opens the one that is there.
pub(crate) fn create_or_open(what: What, name: &(impl AsName + ?Sized)) -> Result<(Held, Found)> {
    let name = name.as_name()?;
    /// Each time round, somebody else is making one, or has dropped it in between.
    const PATIENCE: Duration = Duration::from_secs(10);
    let deadline = Deadline::after(PATIENCE);
    while !deadline.has_passed() {
        if let Some(held) = try_to_create(what, &name)? {
            return Ok((held, Found::Created));
        }
        match open(what, what.kind(), &*name, Rights::Same) {
            Ok(held) => return Ok((held, Found::Opened)),
            Err(Error::NoSuchObject { .. }) if is_kept(name.as_str()) => break,
            Err(Error::NoSuchObject { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(Error::NameOfAnotherKind { .. }) => break,
            Err(other) => return Err(other),
        }
    }
    Err(Error::NameTaken { name: name.to_string() })
}

/// `None` if somebody has the name.
fn try_to_create(what: What, name: &Name) -> Result<Option<Held>> {
    let Some(place) = Place::take(Sort::Object, name.as_str())? else { return Ok(None) };
    let failed = |source| Error::system(what.creating(), format!("the name {name}"), source);
    let handle = named::create(what).map_err(failed)?;
    let serving = Serving::begin(place, &handle, name.as_str())?;
    Ok(Some(Held::created(handle, Some(serving))))
}

/// Opens the object of this name.
pub(crate) fn open(_: What, kind: Kind, name: &(impl AsName + ?Sized), _: Rights) -> Result<Held> {
    let name = name.as_name()?;
    let Some(handle) = serving::ask_for(name.as_str())? else {
        return Err(Error::NoSuchObject { name: name.to_string(), kind });
    };
    let found = handle::kind_of(handle.handle());
    let found = found.map_err(|source| {
        Error::system(crate::sys::call::ASK_FOR_KIND, format!("the name {name}"), source)
    })?;
    if found != kind {
        return Err(Error::NameOfAnotherKind { name: name.to_string(), expected: kind });
    }
    Ok(Held::received(handle))
}
