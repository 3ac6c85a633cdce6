//! The child's half: from the manifest to owners, each object once.

use std::sync::Mutex;

use super::manifest::{Manifest, VARIABLE, bad};
use crate::sys::{call, handle, table};
use crate::told::{check_kind, claim, claim_all, own, unclaim};
use crate::{Error, HandleValue, Kind, Object, Result, os};

/// What was handed down to this process, taken stock of once.
static ADOPTED: Mutex<Option<Vec<Entry>>> = Mutex::new(None);

#[derive(Debug)]
struct Entry {
    name: String,
    value: HandleValue,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Open, and still inheritable.
    HandedDown,
    /// Open and ours alone, to be taken.
    Waiting,
    Taken,
    /// Not here: the value was closed before, or is another object's by now.
    Missing,
}

/// What this process's parent handed down to it, by [`Command::inherit`](crate::Command::inherit).
///
/// The first call takes stock: it checks that the manifest was made for this process, and clears the inherit flag of
/// everything in it, so that a process started from here gets none of it by chance. Call it early. Later calls, from
/// anywhere in the process, see the same objects; each is taken once.
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
/// On Linux, what a service manager hands down is among them, by the names in `LISTEN_FDNAMES`
/// ([sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html)). Several of one name
/// are taken one after the other, in the manager's order.
///
/// # Errors
///
/// [`Error::NothingInherited`] if the parent handed nothing down; [`Error::NotForThisProcess`] if the manifest was
/// made for another process, and came here with a copied environment; [`Error::BadManifest`] if it is none.
pub fn inherited() -> Result<Inherited> {
    // A panic can't have left the list half made: it is replaced whole.
    let mut adopted = ADOPTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let entries = match &mut *adopted {
        Some(entries) => entries,
        nothing => nothing.insert(take_stock()?),
    };
    // An error leaves the rest for the next call; nothing is lost by it.
    for entry in entries.iter_mut().filter(|entry| entry.state == State::HandedDown) {
        handle::clear_inheritable_of(entry.value).map_err(failed(call::SET_FLAGS, &entry.name))?;
        entry.state = State::Waiting;
    }
    Ok(Inherited { _private: () })
}

/// Lets `own` make owners of what was handed down under these names, all of it or nothing: after an error it can be
/// tried again. `what` is what they are together.
pub(crate) fn with_values<T, const N: usize>(
    what: &str,
    names: &[&str; N],
    own: impl FnOnce([HandleValue; N]) -> Result<T>,
) -> Result<T> {
    match inherited() {
        Err(Error::NothingInherited) => return Err(Error::NoChannel),
        other => other?,
    };
    with_entries(|entries| {
        let entry = |name: &str| entries.iter().position(|entry| entry.name == name);
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            *place = entry(name).ok_or(Error::NoChannel)?;
        }
        for place in places {
            match entries[place].state {
                State::Taken => return Err(Error::AlreadyTaken { name: what.to_owned() }),
                State::Missing => return Err(Error::NotOpen { what: what.to_owned() }),
                State::HandedDown | State::Waiting => {}
            }
        }
        let values = places.map(|place| entries[place].value);
        if !claim_all(&values) {
            // By number, which somebody has told as well.
            return Err(Error::AlreadyTaken { name: what.to_owned() });
        }
        match own(values) {
            Ok(owned) => {
                for place in places {
                    entries[place].state = State::Taken;
                }
                Ok(owned)
            }
            Err(error) => {
                unclaim(&values);
                Err(error)
            }
        }
    })
}

/// Reads the manifest and looks which of its objects are here.
///
/// 1. It must have been made for this process. A process that only copied the environment is another.
/// 2. An object counts as handed down while its handle is open and inheritable. Inheritance leaves it so, and std makes
///    none that is: a handle of the same value without the flag is somebody else's. Other code can make some, so the
///    first call should come early.
/// 3. Nothing is changed yet, so an error costs nothing. Clearing the flag comes next, and makes a second adoption
///    impossible.
fn take_stock() -> Result<Vec<Entry>> {
    let activated = os::activated();
    let objects = match std::env::var_os(VARIABLE) {
        None => match activated? {
            none if none.is_empty() => return Err(Error::NothingInherited),
            some => some,
        },
        Some(text) => {
            let not_text = |_| Error::BadManifest { variable: VARIABLE, why: "isn't text" };
            let manifest = Manifest::parse(&text.into_string().map_err(not_text)?)?;
            os::check_is_meant_for_this_process(&manifest.meant_for)?;
            // What a parent says doesn't depend on what else stands in the environment.
            manifest.objects.into_iter().chain(activated.unwrap_or_default()).collect()
        }
    };
    // The streams are everybody's in this process, and no parent lists them.
    let streams = standard_streams()?;
    if objects.iter().any(|(_, value)| streams.contains(value)) {
        return Err(bad("names a standard stream"));
    }
    let mut entries = Vec::with_capacity(objects.len());
    for (name, value) in objects {
        let here = handle::is_open_and_inheritable(value).map_err(failed(call::ASK_FOR_FLAGS, &name))?;
        entries.push(Entry { name, value, state: if here { State::HandedDown } else { State::Missing } });
    }
    Ok(entries)
}

/// Whether a handle was handed down by name and nobody has taken it.
pub(crate) fn is_waiting(value: HandleValue) -> bool {
    // Only a look: stock is taken by who asks for what was handed down.
    let adopted = ADOPTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let waits = |entry: &Entry| entry.value == value && entry.state == State::Waiting;
    adopted.as_ref().is_some_and(|entries| entries.iter().any(waits))
}

/// Whether a name is this crate's own.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with("handover/")
}

fn failed(call: &'static str, name: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("the inherited object {name:?}");
    move |source| Error::system(call, what, source)
}

/// What was handed down to this process: a view of it, as [`inherited`] gives.
#[derive(Debug)]
pub struct Inherited {
    _private: (),
}

impl Inherited {
    /// Takes the object of this name, as the type that is expected: [`Event`](crate::Event), `File`, or `OwnedHandle`
    /// for a handle of any kind. The kernel is asked whether it is of that kind; if it isn't, it stays and can be
    /// taken as another. The caller owns the result, which closes the handle when it is dropped. What is never taken
    /// stays open until this process ends.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`] with the names that there are, [`Error::AlreadyTaken`], [`Error::WrongKind`],
    /// [`Error::NotOpen`] if this process closed the handle before it called [`inherited`].
    pub fn take<T: Object>(&self, name: &str) -> Result<T> {
        with_entries(|entries| {
            // A service manager can give several one name; otherwise there is one.
            let entries = entries.as_mut_slice();
            if is_reserved(name) {
                return Err(Error::NoSuchName { name: name.to_owned(), names: names(entries) });
            }
            let place = entries.iter().position(|entry| entry.name == name && entry.state != State::Taken);
            let place = place.or_else(|| entries.iter().position(|entry| entry.name == name));
            let Some(entry) = place.map(|place| &mut entries[place]) else {
                let names = names(entries);
                return Err(Error::NoSuchName { name: name.to_owned(), names });
            };
            let what = || format!("the inherited object {name:?} ({:#x})", entry.value);
            match entry.state {
                State::Taken => return Err(Error::AlreadyTaken { name: name.to_owned() }),
                State::Missing => return Err(Error::NotOpen { what: what() }),
                State::HandedDown | State::Waiting => {}
            }
            check_kind::<T>(handle::kind_of_value(entry.value), what)?;
            entry.state = State::Taken;
            if !claim(entry.value) {
                // By number, which the parent has told as well.
                return Err(Error::AlreadyTaken { name: name.to_owned() });
            }
            Ok(own(entry.value))
        })
    }

    /// The names that were handed down, in the parent's order, taken or not.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        with_entries(|entries| names(entries))
    }

    /// The inheritable handles of this process that nobody handed down by name and that are no standard streams: in
    /// a program that has just begun, what leaked into it. For tests and audits.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle table can't be read.
    pub fn unlisted(&self) -> Result<Vec<Unlisted>> {
        unlisted()
    }
}

/// A handle that came into this process though nobody listed it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unlisted {
    /// Its value here.
    pub value: HandleValue,
    /// The kernel's answer to what it refers to; `None` if it was closed just now.
    pub kind: Option<Kind>,
    pub(crate) carries: table::Carries,
}

impl Unlisted {
    /// Takes the inherit flag off it, so that no process that is started from here gets it too. The handle stays open, and
    /// belongs as before to whoever uses it by its number.
    ///
    /// For a program that starts others and is itself started by whatever there is: a supervisor, a shell, a runner of
    /// tests. It does that first thing in its `main`, before it starts anything and before other code of its own makes
    /// something inheritable that is meant to be:
    ///
    /// ```no_run
    /// for leaked in handover::unlisted()? {
    ///     leaked.keep()?;
    /// }
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// What was handed down by name is among the unlisted until [`inherited`] was called, and what was told by its number
    /// until it is adopted. Do that first: once such a handle is kept, it may not count as handed down any more.
    ///
    /// # Errors
    ///
    /// [`Error::NotOpen`] if it was closed meanwhile. If something else was opened since then under the same value, that is
    /// kept instead.
    #[doc(alias("SetHandleInformation", "HANDLE_FLAG_INHERIT", "FD_CLOEXEC"))]
    pub fn keep(&self) -> Result<()> {
        handle::clear_inheritable_of(self.value).map_err(|source| {
            let what = format!("the unlisted handle {:#x}", self.value);
            if handle::is_invalid_handle(&source) {
                Error::NotOpen { what }
            } else {
                Error::system(call::SET_FLAGS, what, source)
            }
        })
    }
}

/// As [`Inherited::unlisted`], for a process to which nothing was handed down.
///
/// # Errors
///
/// [`Error::System`] if the handle table can't be read.
pub fn unlisted() -> Result<Vec<Unlisted>> {
    let streams = standard_streams()?;
    let found = table::inheritable()
        .map_err(|source| Error::system(call::READ_TABLE, "this process's handle table".into(), source))?;
    let unlisted = |(value, carries)| Unlisted { value, kind: handle::kind_of_value(value).ok(), carries };
    Ok(found.into_iter().filter(|(value, _)| !streams.contains(value)).map(unlisted).collect())
}

/// The values of this process's standard streams, as many as there are.
fn standard_streams() -> Result<Vec<HandleValue>> {
    let mut streams = Vec::with_capacity(3);
    for which in 0..3 {
        let stream = handle::standard_stream(which)
            .map_err(|source| Error::system(call::ASK_FOR_STREAM, "a standard stream".into(), source))?;
        streams.extend(stream.and_then(|stream| HandleValue::of(&stream).ok()));
    }
    Ok(streams)
}

fn with_entries<T>(work: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
    // A panic can't leave an entry half changed: its state is one assignment.
    let mut adopted = ADOPTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    work(adopted.get_or_insert_with(Vec::new))
}

/// The names that a user has given.
fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().filter(|entry| !is_reserved(&entry.name)).map(|entry| entry.name.clone()).collect()
}
