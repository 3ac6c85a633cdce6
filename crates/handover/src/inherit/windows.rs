//! Windows: the check that a manifest was written for this process, and the inherited sockets.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::str::FromStr;

use super::LeakedHandle;
use super::manifest::{Manifest, SOCKETS, VARIABLE, malformed};
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue, ProcessIdentity};
use crate::object::adopt::Adoption;
use crate::sys::bytes::Bytes;
use crate::sys::io::{BorrowedHandle, HasHandle};
use crate::sys::value::number_of;
use crate::sys::winsock::{Record, import};
use crate::sys::{SysError, SysResult, process as sys};

/// The environment of this process. On Windows this is the current environment.
#[derive(Debug)]
pub(crate) struct InitialEnvironment;

impl InitialEnvironment {
    #[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
    pub(crate) fn read() -> Result<Self> {
        Ok(Self)
    }

    #[allow(clippy::unused_self, reason = "on Linux it is read once")]
    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// Where this process finds an inherited object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In its handle table.
    Handle(HandleValue),
    /// In the record with this index. A socket isn't inherited: the parent duplicates it for the child that it has created.
    Socket(u16),
}

impl Place {
    /// Appends the place as `Display` writes it.
    pub(crate) fn push_to(self, text: &mut String) {
        match self {
            Self::Handle(value) => value.push_to(text),
            Self::Socket(_) => text.push_str(&self.to_string()),
        }
    }
}

/// Returns a number that no other place has.
pub(super) fn number_of_place(place: Place) -> u64 {
    match place {
        Place::Handle(value) => value.get().into(),
        Place::Socket(index) => 1 << u32::BITS | u64::from(index),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(value) => value.fmt(f),
            Self::Socket(index) => write!(f, "s{index}"),
        }
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let Some(index) = text.strip_prefix('s') else {
            return text.parse().map(Self::Handle).map_err(|_| ());
        };
        // std's parser also accepts a sign.
        let is_number = index.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(index).and_then(|index| index.parse().ok()).map(Self::Socket).ok_or(())
    }
}

/// Returns the place of the handle with this value.
pub(crate) fn place_of(value: HandleValue) -> Place {
    Place::Handle(value)
}

/// Returns the value of the handle that is in the place, or `None` for a socket that isn't this process's own yet.
pub(crate) fn value_of(place: Place) -> Option<HandleValue> {
    match place {
        Place::Handle(value) => Some(value),
        Place::Socket(_) => None,
    }
}

/// Checks that the records of sockets are listed before the sockets.
pub(crate) fn check_places(objects: &[(String, Place)]) -> Result<()> {
    let records = objects.iter().position(|(name, _)| name == SOCKETS);
    let is_record = |place: &Place| matches!(place, Place::Socket(_));
    match objects.iter().position(|(_, place)| is_record(place)) {
        Some(first) if records.is_none_or(|records| first <= records) => {
            Err(malformed!("lists a socket before the section with its record"))
        }
        _ => Ok(()),
    }
}

/// Makes this process the owner of an inherited object, which can then be taken by its name. `records` is the section with
/// the records of sockets, which this process owns already.
pub(crate) fn keep(
    place: &mut Place,
    adoption: &mut Adoption,
    records: Option<HandleValue>,
) -> SysResult<()> {
    match *place {
        Place::Handle(value) => adoption.keep(value),
        Place::Socket(index) => {
            let section = records.and_then(|value| adoption.waiting(value));
            let section = section.ok_or_else(|| {
                SysError::unexpected(
                    "MapViewOfFile",
                    "the section with the sockets' records is no longer there",
                )
            })?;
            let socket = import(&record_at(section.handle(), index)?)?;
            let value = HandleValue::new(number_of(socket.handle())).map_err(|_| {
                SysError::unexpected("WSASocketW", "the socket has a value that no handle can have")
            })?;
            adoption.keep_owned(value, socket);
            *place = Place::Handle(value);
            Ok(())
        }
    }
}

/// Reads the record of a socket, which the parent has written before this process ran.
fn record_at(section: BorrowedHandle<'_>, index: u16) -> SysResult<Record> {
    let at = usize::from(index) * Record::LENGTH;
    let mut record = [0; Record::LENGTH];
    if Bytes::whole(section, false)?.copy_out(at, &mut record) {
        return Ok(record.into());
    }
    Err(SysError::unexpected("MapViewOfFile", "the section ends before the socket's record"))
}

/// Checks that the manifest names this process's parent.
///
/// A process that only copied its parent's environment has another parent, so the check fails.
pub(crate) fn check_is_for_this_process(manifest: &Manifest) -> Result<()> {
    let expected = ProcessIdentity::parse(&manifest.meant_for)
        .map_err(|_| malformed!("does not name the parent's id and creation time"))?;
    let failed = |error| Error::system("this process's parent", error);
    let parent = sys::parent_id().map_err(failed)?;
    if is_parent(expected, parent, identity_of(parent)?, sys::own_unique_number().map_err(failed)?) {
        return Ok(());
    }
    Err(Error::ManifestMismatch {
        name: VARIABLE,
        expected: format!("a child of process {}", expected.id),
        found: format!("a child of process {parent}"),
    })
}

/// Returns whether a process with the id `parent`, which started this one at the time `own`, is the expected one. `found`
/// is the process that has the id now, if this process may know.
///
/// A process that was created after this one can't be its parent: that has exited, and its id was reused. Then, and if
/// the process isn't known, the check relies on the id alone.
fn is_parent(expected: ProcessIdentity, parent: u32, found: Option<ProcessIdentity>, own: u64) -> bool {
    parent == expected.id && found.is_none_or(|found| found == expected || found.created > own)
}

/// Returns the identity of the process that has this id now. Returns `None` if no process has the id, or if this
/// process may not query it.
pub(crate) fn identity_of(id: u32) -> Result<Option<ProcessIdentity>> {
    let failed = |error| Error::system(format!("process {id}"), error);
    let process = match sys::open(id, Access::PROCESS_QUERY_LIMITED_INFORMATION) {
        Ok(process) => process,
        // No process has the id, or the process belongs to another user.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let created = sys::creation_time(process.handle(), id).map_err(failed)?;
    Ok(Some(ProcessIdentity::new(id, created)))
}

/// Returns an empty list: on Windows, no service manager passes handles.
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn listen_fds(_: &InitialEnvironment) -> Result<Vec<(String, Place)>> {
    Ok(Vec::new())
}

impl LeakedHandle {
    /// Returns the access rights that the handle carries.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn access(&self) -> Access {
        self.carries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_listed_behind_their_records() {
        let check = |words: &str| {
            let text = format!("1 256@1 {words}");
            Manifest::parse(&text).and_then(|manifest| check_places(&manifest.objects))
        };
        assert!(check("68=a 72=handover/sockets s0=b 76=c s1=d").is_ok());
        assert!(check("72=handover/sockets").is_ok());
        for words in ["s0=a", "68=a s0=b", "s0=a 72=handover/sockets", "s0=handover/sockets"] {
            let error = check(words).expect_err(words).to_string();
            assert!(error.contains("a socket before the section"), "{words}: {error}");
        }
        assert!(check("72=handover/sockets s0=a s0=b").is_err(), "one record for two sockets");
    }

    #[test]
    fn process_created_later_is_no_parent() {
        let parent = ProcessIdentity::new(8, 100);
        let found = |created| Some(ProcessIdentity::new(8, created));
        assert!(is_parent(parent, 8, found(100), 200) && is_parent(parent, 8, None, 200));
        assert!(is_parent(parent, 8, found(201), 200), "the parent's id was reused");
        assert!(!is_parent(parent, 8, found(150), 200), "another process started this one");
        assert!(!is_parent(parent, 12, None, 200));
    }
}
