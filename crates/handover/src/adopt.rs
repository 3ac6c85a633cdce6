//! Taking an object by the number under which another process put it into this one's table.

use std::io;

use crate::{Access, Error, HandleValue, Kind, Object, Result, sys};

/// Makes this process the owner of a handle that another process put into its table and told the number of.
///
/// The number comes by whatever way the two have: a command line, an environment variable, a pipe. Before anything
/// is owned, the kernel is asked what the number refers to, and the handle loses its inherit flag, so that a
/// process started from here doesn't get it by chance. Between programs that both use this crate, objects travel by
/// name instead, and [`inherited`](crate::inherited) takes them.
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Event, HandleValue};
///
/// let value: HandleValue = std::env::args().nth(1).expect("a handle").parse()?;
/// let ready: Event = handover::adopt(value)?;
/// ready.wait_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Ownership
///
/// The result closes the handle when it is dropped, so adopt each number once, and only a number that another
/// process told this one: as with `CloseHandle`, nothing can tell a handle that is given to the caller from one that
/// a library in the same process holds for itself. Standard streams are refused, and so is every kind but the one
/// that was asked for.
///
/// # Errors
///
/// [`Error::NotOpen`] if the number is no handle of this process, [`Error::WrongKind`] if it refers to something
/// else, [`Error::NotYours`] if it is a standard stream. The handle then stays as it was.
#[doc(alias = "ULongToHandle")]
pub fn adopt<T: Object>(value: HandleValue) -> Result<T> {
    let what = || format!("handle {value:#x}");
    let names = ["the standard input", "the standard output", "the standard error"];
    let raw = sys::handle::raw(value);
    if let Some(stream) = sys::handle::standard_streams().iter().position(|stream| *stream == raw) {
        return Err(Error::NotYours { value, owner: names[stream] });
    }
    let access = checked_kind::<T>(value, what)?;
    sys::handle::clear_inheritable_of(value)
        .map_err(|source| failed("SetHandleInformation", what(), source))?;
    Ok(own(value, access))
}

/// The access of a handle of this process, if it refers to what `T` can own.
pub(crate) fn checked_kind<T: Object>(value: HandleValue, what: impl Fn() -> String) -> Result<Access> {
    let raw = sys::handle::raw(value);
    let found = sys::handle::type_name(raw).map_err(|source| failed("NtQueryObject", what(), source))?;
    let found = Kind::from_type_name(&found);
    if let Some(expected) = T::KIND
        && found != expected
    {
        return Err(Error::WrongKind { what: what(), expected, found });
    }
    sys::handle::granted_access(raw).map_err(|source| failed("NtQueryObject", what(), source))
}

/// Owns a handle that was checked.
pub(crate) fn own<T: Object>(value: HandleValue, access: Access) -> T {
    T::from_handle(sys::handle::own(value), access)
}

fn failed(call: &'static str, what: String, source: io::Error) -> Error {
    if sys::handle::is_invalid_handle(&source) {
        return Error::NotOpen { what };
    }
    Error::System { call, what, source }
}
