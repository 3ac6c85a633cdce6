//! The Linux half: object names, and creating and opening objects by name.
//!
//! The kernel has no names for these objects. So the process that creates a named object serves it to the user's other
//! processes over a socket. The name exists until that process drops the object or exits.

pub(crate) mod lock;
mod server;
mod single_instance;

pub use single_instance::SingleInstance;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use self::lock::{NameLock, is_unserved};
use self::server::NameServer;
use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::name::text::objection;
use crate::name::text::on_linux::Sort;
use crate::name::{AsObjectName, CreateOutcome};
use crate::object::{ObjectHandle, check_size, description_of_new};
use crate::sys::create_object::{self, What};
use crate::sys::handle;
use crate::sys::io::HasHandle;
use crate::sys::rights::Rights;
use crate::wait::Deadline;

/// The checked name of an object.
///
/// The processes of this user on this machine find it; those of other users can't. All kinds of objects and
/// [`SingleInstance`](crate::SingleInstance) share one namespace; a [`Listener`](crate::Listener) has its own. Names
/// are case-sensitive.
///
/// The kernel has no names for these objects, so the process that creates an object serves it to the processes that
/// open it. The name exists until that process drops the object or exits; processes that have opened the object keep
/// it. (On Windows, the name exists until the last handle to the object is closed.)
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
    /// Creates a name that the processes of this user find.
    ///
    /// The text must not be empty and must not contain a backslash or a NUL. It can have about 70 bytes, fewer than on
    /// Windows, because it becomes a part of a socket's path.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the text can't be a name. A name that is too long causes the error only when an
    /// object is created or opened with it.
    pub fn local(text: &str) -> Result<Self> {
        let invalid_character = "contains a backslash or a NUL; neither is allowed, because names must work on Windows and on Linux";
        match objection(text, invalid_character) {
            Some(reason) => Err(Error::invalid(format!("the name {text:?} of an object"), reason)),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the name as text.
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

    /// Creates a [local](Self::local) name.
    fn from_str(text: &str) -> Result<Self> {
        Self::local(text)
    }
}

/// Creates an object with this name. Fails if any object already has it.
pub(crate) fn create(what: What, name: &(impl AsObjectName + ?Sized)) -> Result<ObjectHandle> {
    let name = name.as_name()?;
    try_to_create(what, &name)?.ok_or_else(|| Error::NameInUse { name: name.to_string() })
}

/// Creates an object with this name, or opens the existing one.
pub(crate) fn create_or_open(
    what: What,
    name: &(impl AsObjectName + ?Sized),
) -> Result<(ObjectHandle, CreateOutcome)> {
    let name = name.as_name()?;
    /// How long to retry. A retry is needed while another process is still creating the object, or if one dropped it
    /// between the attempt to create it and the attempt to open it.
    const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
    let deadline = Deadline::after(RETRY_TIMEOUT);
    while !deadline.has_passed() {
        if let Some(handle) = try_to_create(what, &name)? {
            return Ok((handle, CreateOutcome::Created));
        }
        match open(what, what.kind(), &*name, Rights::Same) {
            Ok(handle) => return Ok((handle, CreateOutcome::Opened)),
            Err(Error::ObjectNotFound { .. }) if is_unserved(name.as_str()) => break,
            Err(Error::ObjectNotFound { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(other) => return Err(other),
        }
    }
    Err(Error::NameInUse { name: name.to_string() })
}

/// Creates an object with this name and starts serving it. Returns `None` if the name is in use.
fn try_to_create(what: What, name: &ObjectName) -> Result<Option<ObjectHandle>> {
    let Some(lock) = NameLock::take(Sort::Object, name.as_str())? else { return Ok(None) };
    let described = || format!("{} with the name {:?}", description_of_new(what), name.as_str());
    let handle = create_object::create(what).map_err(|error| Error::system(described(), error))?;
    let server = NameServer::begin(lock, &handle, name.as_str())?;
    Ok(Some(ObjectHandle::created(handle, Some(Arc::new(server)))))
}

/// Opens the object with this name.
pub(crate) fn open(
    _: What,
    kind: ObjectKind,
    name: &(impl AsObjectName + ?Sized),
    _: Rights,
) -> Result<ObjectHandle> {
    let name = name.as_name()?;
    let Some(handle) = server::request(name.as_str())? else {
        return Err(Error::ObjectNotFound { name: name.to_string(), expected: kind });
    };
    let found = handle::kind_of(handle.handle());
    let found = found
        .map_err(|error| Error::system(format!("the object with the name {:?}", name.as_str()), error))?;
    if !handle::can_be(&found, &kind) {
        return Err(Error::NameKindMismatch { name: name.to_string(), expected: kind, found: Some(found) });
    }
    check_size(&kind, HandleValue::of(&handle)?, &|| {
        format!("the object with the name {:?}", name.as_str())
    })?;
    Ok(ObjectHandle::received(handle))
}
