//! The sockets that a child gets.
//!
//! A socket can't be inherited, because it has state beside its handle. Winsock duplicates it for a process whose id is
//! known, and returns a record. So the child is created suspended, and inherits a section. Before it runs, the records are
//! written there, from which the child makes the sockets its own
//! ([`WSADuplicateSocketW`](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw)).

use std::os::windows::io::{AsHandle, BorrowedHandle};

use super::duplicate_target::{DuplicateTarget, Inheritable};
use crate::error::{Error, Result};
use crate::handle::Access;
use crate::process::command::Command;
use crate::sys::bytes::Bytes;
use crate::sys::create_object::{What, create};
use crate::sys::io::Owned;
use crate::sys::winsock::{Record, duplicate_for};

/// Returns whether a child gets sockets.
pub(super) fn are_needed(command: &Command<'_>) -> bool {
    command.inherit.iter().any(|listed| listed.object().is_socket())
}

/// The sockets for one child, and the section for their records.
#[derive(Debug)]
pub(super) struct SocketRecords<'a> {
    sockets: Vec<(&'a str, BorrowedHandle<'a>)>,
    section: Owned,
}

const SECTION: &str = "the section with the records of the child's sockets";

impl<'a> SocketRecords<'a> {
    /// Checks the listed sockets, and creates a section for their records. Returns `None` if no sockets are listed.
    pub(super) fn of(command: &'a Command<'_>) -> Result<Option<Self>> {
        let mut sockets = Vec::new();
        for listed in &command.inherit {
            let context = || described(&listed.name);
            sockets.extend(listed.object().socket(context)?.map(|socket| (&*listed.name, socket)));
        }
        if sockets.is_empty() {
            return Ok(None);
        }
        let what = What::SharedMemory((sockets.len() * Record::LENGTH) as u64);
        let (section, _) = create(what, None).map_err(|error| Error::system(SECTION, error))?;
        Ok(Some(Self { sockets, section }))
    }

    /// Creates an inheritable duplicate of the section, with which the child can only read.
    pub(super) fn duplicate_for(&self, target: &DuplicateTarget) -> Result<Inheritable> {
        let duplicate = target.duplicate(self.section.as_handle(), Some(Access::SECTION_READ));
        duplicate.map_err(|error| Error::system(SECTION, error))
    }

    /// Duplicates the sockets for the child with this id, which is suspended, and writes their records.
    pub(super) fn write_for(&self, child: u32) -> Result<()> {
        let failed = |error| Error::system(SECTION, error);
        let length = self.sockets.len() * Record::LENGTH;
        let records = Bytes::view(self.section.as_handle(), true, 0, length).map_err(failed)?;
        for (index, (name, socket)) in self.sockets.iter().enumerate() {
            let record =
                duplicate_for(*socket, child).map_err(|error| Error::system(described(name), error))?;
            assert!(
                records.copy_in(index * Record::LENGTH, record.bytes()),
                "the section has room for all records"
            );
        }
        Ok(())
    }
}

fn described(name: &str) -> String {
    format!("the listed object {name:?}")
}
