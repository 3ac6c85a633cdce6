//! The child's half: reads the manifest, owns the listed handles, and gives out each object once.

use std::fmt;

use super::imp::{self, Place, value_of};
use super::is_reserved;
use super::manifest::{Manifest, RECIPIENT, SOCKETS, VARIABLE, invalid_manifest, malformed};
use crate::error::{Error, LISTEN_PID, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::object::Object;
use crate::object::adopt::Adoption;
use crate::sys::io::Owned;
use crate::sys::mutex::{Mutex, MutexGuard};
use crate::sys::{SysError, handle, table};

/// The objects that this process inherited. `None` until `inherited` has read the manifest.
static INHERITED: Mutex<Option<List>> = Mutex::new(None);

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    /// The number of entries whose handles are owned. After an error, the next call continues with the first unowned
    /// entry.
    owned: usize,
}

#[derive(Debug)]
struct Entry {
    name: String,
    /// Where it was listed, until this process owns it: then, its handle.
    place: Place,
}

impl Entry {
    fn value(&self) -> Option<HandleValue> {
        value_of(self.place)
    }
}

/// Returns the objects that this process's parent listed for it with [`Command::inherit`](crate::Command::inherit).
///
/// The *manifest* is the list of the objects' names and handle values. The parent writes it into the child's
/// environment variable `HANDOVER_INHERITED`. On Linux the manifest also has the id of the child, which the new process
/// adds before it executes the program; if another spawner starts the child (`os::linux::InheritExt`), the new process
/// adds a proof of its id. On Windows the manifest has the identity of the parent, which the child compares with
/// that of its own parent.
///
/// The first call:
///
/// - reads the manifest and checks that it was written for this process;
/// - checks that each listed handle is open and still inheritable;
/// - makes this process the owner of all listed handles, and clears their inherit flags, so that children of this
///   process don't inherit them. On Windows it also makes this process the owner of the listed sockets, which the parent has
///   duplicated for it before it ran; children of this process don't inherit them either.
///
/// Call it early: also before code that overwrites the memory of the initial environment, as `setproctitle` does on
/// Linux. Later calls, from any thread, return the same objects. Each object can be taken once.
///
/// The environment that the process started with is trusted, as the parent is. A program that replaces itself by another
/// (`exec`) after this call must remove the variable from the environment that it passes on: the number in it may be
/// another handle's by then.
///
/// ```no_run
/// use std::time::Duration;
/// use handover::Event;
///
/// let inherited = handover::inherited()?;
/// let ready: Event = inherited.take("ready")?;
/// ready.wait_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// A server that passes its sockets to its successor:
/// [`examples/tcp_restart`](https://docs.rs/crate/handover/latest/source/examples/tcp_restart/).
///
/// On Linux, the objects include the sockets that a service manager passes, with the names in `LISTEN_FDNAMES`
/// ([sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html)). If several have
/// the same name, `take` returns them one after the other, in the manager's order.
///
/// # Errors
///
/// - [`Error::NothingInherited`] if the parent listed no objects.
/// - [`Error::ManifestMismatch`] if the manifest, or the service manager's list, was written for another process. This
///   happens if a program in between passed on its environment, and with it the variable.
/// - [`Error::InvalidManifest`] if the manifest is malformed, or lists a handle that is no longer inheritable.
/// - [`Error::InvalidHandle`] if the manifest lists a handle that isn't open.
///
/// After these errors no handle has been taken or changed.
pub fn inherited() -> Result<Inherited> {
    let mut inherited = lock();
    let list = match &mut *inherited {
        Some(list) => list,
        unread => unread.insert(List { entries: read()?, owned: 0 }),
    };
    let mut adoption = Adoption::lock();
    let records = list.entries.iter().find(|entry| entry.name == SOCKETS).and_then(Entry::value);
    while let Some(entry) = list.entries.get_mut(list.owned) {
        imp::keep(&mut entry.place, &mut adoption, records).map_err(failed(&entry.name))?;
        list.owned += 1;
    }
    // The proof that the list is for this process isn't needed any more, nor are the records of sockets.
    let mut unneeded = Vec::new();
    for name in [RECIPIENT, SOCKETS] {
        if let Some(index) = list.entries.iter().position(|entry| entry.name == name) {
            list.owned -= 1;
            let value = list.entries.remove(index).value();
            unneeded.extend(value.and_then(|value| adoption.take_handle(value)));
        }
    }
    drop((adoption, inherited));
    drop(unneeded);
    Ok(Inherited { _private: () })
}

fn lock() -> MutexGuard<'static, Option<List>> {
    INHERITED.lock()
}

/// Reads the manifest and checks its handles, without changing anything.
fn read() -> Result<Vec<Entry>> {
    let environment = imp::InitialEnvironment::read()?;
    let sockets = imp::listen_fds(&environment);
    let objects = match environment.get(VARIABLE) {
        None => match sockets? {
            sockets if sockets.is_empty() => return Err(Error::NothingInherited),
            sockets => sockets,
        },
        Some(text) => {
            let text = text.into_string().map_err(|_| malformed!("is not valid Unicode"))?;
            let manifest = Manifest::parse(&text)?;
            imp::check_is_for_this_process(&manifest)?;
            // LISTEN_ variables that are malformed, or name this process's id by coincidence (the id 1 in a nested PID
            // namespace), must not make the parent's list unusable. So they are ignored.
            let is_passed = |place| {
                value_of(place).is_some_and(|value| {
                    Adoption::lock().was_adopted_by_number(value)
                        || handle::is_open_and_inheritable(value).unwrap_or(false)
                })
            };
            with_sockets(manifest.objects, sockets.unwrap_or_default(), is_passed)
        }
    };
    // Any code of this process may use the standard streams, so no entry may own one. No parent lists them.
    let streams = standard_streams()?;
    let values = || objects.iter().filter_map(|(name, place)| Some((name, value_of(*place)?)));
    if values().any(|(_, value)| streams.contains(&value)) {
        return Err(malformed!("lists a standard stream, which no parent lists"));
    }
    imp::check_places(&objects)?;
    let adoption = Adoption::lock();
    for (name, value) in values() {
        // An inherited handle has its inherit flag set, and neither std nor this crate creates inheritable handles. If
        // the flag is clear, other code of this process has opened an unrelated handle with the same value.
        if !adoption.was_adopted_by_number(value)
            && !handle::is_open_and_inheritable(value).map_err(failed(name))?
        {
            return match handle::kind_of_value(value) {
                Ok(_) => Err(invalid_manifest(
                    "lists a handle that is no longer the one that the parent passed, because other code of this process \
                     closed it or cleared its inherit flag; call inherited() before that code",
                )),
                Err(error) => Err(Error::on_handle(described(name, value), error)),
            };
        }
    }
    drop(adoption);
    Ok(objects.into_iter().map(|(name, place)| Entry { name, place }).collect())
}

fn described(name: &str, value: HandleValue) -> String {
    format!("the inherited object {name:?} with handle {}", value.for_people())
}

fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let context = format!("the inherited object {name:?}");
    move |error| Error::system(context, error)
}

/// The handles of a channel that this process inherited under reserved names. Dropping them makes them available again,
/// so that a failed operation can be retried.
#[derive(Debug)]
pub(crate) struct Reserved<const N: usize> {
    values: [HandleValue; N],
    handles: Option<[Owned; N]>,
}

impl<const N: usize> Reserved<N> {
    /// Takes the handles with these names. If one is missing, it takes no handle. `object` describes them in errors.
    pub(crate) fn take_of_parent(object: &str, names: &[&str; N]) -> Result<Self> {
        match inherited() {
            // A service manager's variables pass no channel.
            Err(Error::NothingInherited | Error::ManifestMismatch { name: LISTEN_PID, .. }) => {
                return Err(Error::NoParentChannel);
            }
            other => other?,
        };
        Self::take(object, names, |_| Error::NoParentChannel)
    }

    /// Takes the handles with these names. If one is missing, it takes no handle, and returns the error that `missing` makes
    /// of all names.
    pub(crate) fn take(
        object: &str,
        names: &[impl AsRef<str>; N],
        missing: impl FnOnce(&mut dyn Iterator<Item = &str>) -> Error,
    ) -> Result<Self> {
        let inherited = lock();
        let entries = inherited.as_ref().map_or(&[][..], |list| &list.entries);
        let value = |name: &str| entries.iter().find(|entry| entry.name == name)?.value();
        let values: Vec<_> = names.iter().filter_map(|name| value(name.as_ref())).collect();
        let values: [HandleValue; N] =
            values.try_into().map_err(|_| missing(&mut entries.iter().map(|entry| entry.name.as_str())))?;
        let mut adoption = Adoption::lock();
        if !values.iter().all(|value| adoption.is_waiting(*value)) {
            return Err(Error::AlreadyTaken { object: object.to_owned() });
        }
        let handles = values
            .map(|value| adoption.take_handle(value).expect("is_waiting was checked under the same lock"));
        Ok(Self { values, handles: Some(handles) })
    }

    pub(crate) fn handles(&self) -> &[Owned; N] {
        self.handles.as_ref().expect("only into_handles and drop take the handles")
    }

    pub(crate) fn into_handles(mut self) -> [Owned; N] {
        self.handles.take().expect("only into_handles and drop take the handles")
    }
}

impl<const N: usize> Drop for Reserved<N> {
    fn drop(&mut self) {
        let Some(handles) = self.handles.take() else { return };
        let mut adoption = Adoption::lock();
        for (value, handle) in self.values.into_iter().zip(handles) {
            adoption.keep_owned(value, handle);
        }
    }
}

/// The objects that this process inherited; [`inherited`] returns it.
pub struct Inherited {
    _private: (),
}

impl fmt::Debug for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inherited").field("names", &self.names()).finish_non_exhaustive()
    }
}

impl Inherited {
    /// Takes the object with this name as a `T`: an [`Event`](crate::Event), a `File`, a `TcpListener`, or an `OwnedHandle`
    /// for any kind; on Windows a socket is taken as one of std's types of sockets.
    ///
    /// `take` asks the kernel for the object's kind. If that isn't the kind of `T`, the object can still be taken as
    /// another type. The caller owns the result, and dropping it closes the handle. Objects that are never taken stay
    /// open until this process exits.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`], with the existing names, if no object has this name.
    /// - [`Error::AlreadyTaken`] if the object was taken before, or its handle was adopted by its number.
    /// - [`Error::WrongKind`] if the object isn't of the kind of `T`.
    pub fn take<T: Object>(&self, name: &str) -> Result<T> {
        let inherited = lock();
        let entries = inherited.as_ref().map_or(&[][..], |list| &list.entries);
        let values: Vec<HandleValue> = match name {
            name if is_reserved(name) => Vec::new(),
            name => entries.iter().filter(|entry| entry.name == name).filter_map(Entry::value).collect(),
        };
        if values.is_empty() {
            return Err(Error::UnknownName { name: name.to_owned(), available: names(entries) });
        }
        for value in values {
            let taken = Adoption::lock().take::<T>(value, || described(name, value))?;
            if let Some(adopted) = taken {
                return Ok(adopted.into_object());
            }
        }
        Err(Error::AlreadyTaken { object: format!("the inherited object {name:?}") })
    }

    /// Returns the names of all listed objects in the parent's order. Names of taken objects are included.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names(lock().as_ref().map_or(&[][..], |list| &list.entries))
    }

    /// Returns the handles that leaked into this process: all that are inheritable, but are neither listed for it by
    /// its parent nor standard streams.
    ///
    /// Use it in tests and audits, early in the program, after it has adopted the handles that were passed by hand. The
    /// result owns no handle.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle table can't be read.
    pub fn leaked(&self) -> Result<Vec<LeakedHandle>> {
        leaked_handles()
    }
}

/// Appends a service manager's sockets to the objects that the parent listed, unless one of them can't have been passed:
/// then the variables name this process by coincidence.
pub(crate) fn with_sockets(
    mut objects: Vec<(String, Place)>,
    sockets: Vec<(String, Place)>,
    is_passed: impl Fn(Place) -> bool,
) -> Vec<(String, Place)> {
    let is_listed = |place: Place| objects.iter().any(|(_, other)| *other == place);
    if sockets.iter().all(|(_, place)| is_passed(*place) && !is_listed(*place)) {
        objects.extend(sockets);
    }
    objects
}

/// Returns the names of the entries that the parent's code listed, without this crate's own.
fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().filter(|entry| !is_reserved(&entry.name)).map(|entry| entry.name.clone()).collect()
}

/// A handle that leaked into this process: it is inheritable, but the parent didn't list it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeakedHandle {
    /// The handle's value in this process.
    pub value: HandleValue,
    /// The kind of object that it refers to, as the kernel reports it. `None` if it was closed meanwhile.
    pub kind: Option<ObjectKind>,
    pub(crate) carries: table::Carries,
}

impl fmt::Debug for LeakedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakedHandle")
            .field("value", &self.value)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl LeakedHandle {
    /// Clears the handle's inherit flag, so that children of this process don't inherit it. The handle stays open, and
    /// its owner stays the same.
    ///
    /// Use it in a program that starts others and may itself inherit leaked handles: a supervisor, a shell, a test
    /// runner. Call it early in `main`, before other code makes handles inheritable on purpose:
    ///
    /// ```no_run
    /// for leaked in handover::leaked_handles()? {
    ///     leaked.clear_inherit()?;
    /// }
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// Call [`inherited`] and [`HandleValue::adopt`] before. Until then, the handles that the parent listed or passed
    /// by hand count as leaked. If their inherit flags are cleared, [`inherited`] rejects them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHandle`] if the handle was closed meanwhile. If another handle has been opened with the same
    /// value since, the call clears that handle's flag.
    ///
    /// [SetHandleInformation](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-sethandleinformation);
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html) (`F_SETFD`)
    #[doc(alias("SetHandleInformation", "HANDLE_FLAG_INHERIT", "FD_CLOEXEC"))]
    pub fn clear_inherit(&self) -> Result<()> {
        let object = || format!("the leaked handle {}", self.value.for_people());
        handle::clear_inheritable_of(self.value).map_err(|error| Error::on_handle(object(), error))
    }
}

/// Returns the handles that leaked into this process: all that are inheritable, but are neither listed for it by its
/// parent nor standard streams.
///
/// Call it after [`inherited`] and [`HandleValue::adopt`]: until then, the handles that the parent listed or passed by
/// hand are returned too. [`Inherited::leaked`] does the same. The result owns no handle.
///
/// # Errors
///
/// [`Error::System`] if the handle table can't be read.
pub fn leaked_handles() -> Result<Vec<LeakedHandle>> {
    let streams = standard_streams()?;
    let found = table::inheritable().map_err(|error| Error::system("this process's handle table", error))?;
    let leaked = |(value, carries)| LeakedHandle { value, kind: handle::kind_of_value(value).ok(), carries };
    Ok(found.into_iter().filter(|(value, _)| !streams.contains(value)).map(leaked).collect())
}

/// Returns the values of the standard streams that this process has.
pub(crate) fn standard_streams() -> Result<Vec<HandleValue>> {
    let mut streams = Vec::with_capacity(3);
    for which in 0..3 {
        let stream =
            handle::standard_stream(which).map_err(|error| Error::system("a standard stream", error))?;
        streams.extend(stream.and_then(|stream| HandleValue::of(&stream).ok()));
    }
    Ok(streams)
}
