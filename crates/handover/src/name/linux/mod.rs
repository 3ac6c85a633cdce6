//! Names, and creating and opening objects by them.
//!
//! The kernel has names for none of these objects. So whoever creates one with a name serves it to the other processes
//! of the user, and the name goes with the object that it has created.

pub(crate) mod lock;
mod server;
mod single_instance;

pub use single_instance::SingleInstance;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use self::lock::{NameLock, is_kept};
use self::server::NameServer;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::name::text::objection;
use crate::name::text::on_linux::Sort;
use crate::name::{AsObjectName, CreateOutcome};
use crate::object::ObjectHandle;
use crate::sys::create_object::{self, What};
use crate::sys::handle;
use crate::sys::io::HasHandle;
use crate::sys::rights::Rights;
use crate::wait::Deadline;

/// The name of an object, checked.
///
/// The processes of this user find it, on this machine. All kinds of objects share one space of names, and case
/// matters. The kernel has no names for what is shared here, so the process that creates an object serves it to those
/// that open it: the name is gone with that process, or as soon as it drops the object, though others that have opened
/// it keep it. (On Windows, it is gone with the last handle.) Names of other users or sessions can't be had.
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
#[derive(Debug, Clone)]
pub struct ObjectName(Box<str>);

impl ObjectName {
    /// A name that the processes of this user find: text that isn't empty, without backslash and NUL. Some 70 bytes fit,
    /// fewer than on Windows, because it is a part of the path of a socket.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`]. That a name is too long shows when it is used.
    pub fn local(text: &str) -> Result<Self> {
        let invalid = |why: &str| Err(Error::invalid(format!("the name {text:?} of an object"), why));
        let of_letters = "is invalid; expected a name without backslash and NUL, as on Windows";
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

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    /// A [local](Self::local) name.
    fn from_str(text: &str) -> Result<Self> {
        Self::local(text)
    }
}

/// Creates an object of this name; it is an error if anything has it.
pub(crate) fn create(what: What, name: &(impl AsObjectName + ?Sized)) -> Result<ObjectHandle> {
    let name = name.as_name()?;
    try_to_create(what, &name)?.ok_or_else(|| Error::NameInUse { name: name.to_string() })
}

/// Creates an object of this name, or opens the one that is there.
pub(crate) fn create_or_open(
    what: What,
    name: &(impl AsObjectName + ?Sized),
) -> Result<(ObjectHandle, CreateOutcome)> {
    let name = name.as_name()?;
    /// Each time round, somebody else is making one, or has dropped it in between.
    const PATIENCE: Duration = Duration::from_secs(10);
    let deadline = Deadline::after(PATIENCE);
    while !deadline.has_passed() {
        if let Some(held) = try_to_create(what, &name)? {
            return Ok((held, CreateOutcome::Created));
        }
        match open(what, what.kind(), &*name, Rights::Same) {
            Ok(held) => return Ok((held, CreateOutcome::Opened)),
            Err(Error::ObjectNotFound { .. }) if is_kept(name.as_str()) => break,
            Err(Error::ObjectNotFound { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(Error::NameKindMismatch { .. }) => break,
            Err(other) => return Err(other),
        }
    }
    Err(Error::NameInUse { name: name.to_string() })
}

/// `None` if somebody has the name.
fn try_to_create(what: What, name: &ObjectName) -> Result<Option<ObjectHandle>> {
    let Some(place) = NameLock::take(Sort::Object, name.as_str())? else { return Ok(None) };
    let failed = |error| Error::system(format!("the name {name:?}"), error);
    let handle = create_object::create(what).map_err(failed)?;
    let serving = NameServer::begin(place, &handle, name.as_str())?;
    Ok(Some(ObjectHandle::created(handle, Some(Box::new(serving)))))
}

/// Opens the object of this name.
pub(crate) fn open(
    _: What,
    kind: ObjectKind,
    name: &(impl AsObjectName + ?Sized),
    _: Rights,
) -> Result<ObjectHandle> {
    let name = name.as_name()?;
    let Some(handle) = server::ask_for(name.as_str())? else {
        return Err(Error::ObjectNotFound { name: name.to_string(), expected: kind });
    };
    let found = handle::kind_of(handle.handle());
    let found = found.map_err(|error| Error::system(format!("the name {name:?}"), error))?;
    if found != kind {
        return Err(Error::NameKindMismatch { name: name.to_string(), expected: kind });
    }
    Ok(ObjectHandle::received(handle))
}
