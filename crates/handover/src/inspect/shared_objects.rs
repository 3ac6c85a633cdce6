//! `shared_objects`: the objects that two processes both have handles to.

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::inspect::Unavailable;
use crate::process::Process;

/// An object that two processes share.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedObject {
    /// The object's kind.
    pub kind: ObjectKind,
    /// The object's name, as [`HandleEntry::name`](super::HandleEntry::name) returns it.
    pub name: Option<String>,
    /// The handle values of the object in the first and in the second process.
    pub handles: [Vec<HandleValue>; 2],
}

/// The objects that two processes share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedObjects {
    /// The shared objects, in the order of the first process's handles.
    pub objects: Vec<SharedObject>,
    /// The handles that couldn't be compared: the process id, the handle value, and the reason.
    pub incomplete: Vec<(u32, HandleValue, Unavailable)>,
}

/// Finds the objects that two processes share, and the handles to them.
///
/// The kernel compares the objects. Handle values and names are not compared, because they don't identify an object.
///
/// On Linux, each open file description is one object. Several descriptors of one process, or of the same shared
/// memory, refer to one object, however they were opened. Two processes that have opened the same file or device
/// separately don't share an object.
///
/// ```no_run
/// use handover::Process;
/// use handover::inspect::shared_objects;
///
/// let shared = shared_objects(&Process::open_for_query(264)?, &Process::open_for_query(272)?)?;
/// for object in &shared.objects {
///     println!("{} {:?}", object.kind, object.handles);
/// }
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Errors
///
/// - [`Error::ProcessExited`] if one of the processes has exited.
/// - [`Error::AccessDenied`] if this process may not read the table of one of them.
/// - [`Error::InvalidInput`] if both are the same process.
#[doc(alias = "CompareObjectHandles", alias = "kcmp")]
pub fn shared_objects(one: &Process, other: &Process) -> Result<SharedObjects> {
    if one.id() == other.id() {
        let input = format!("process {} and process {0}", one.id());
        return Err(Error::invalid(input, "are the same process; pass two different ones"));
    }
    let shared = super::imp::handle_table::shared_objects(one, other);
    for process in [one, other] {
        if process.has_exited()? {
            return Err(Error::ProcessExited {
                pid: process.id(),
                context: "read the process's handle table".into(),
            });
        }
    }
    shared
}
