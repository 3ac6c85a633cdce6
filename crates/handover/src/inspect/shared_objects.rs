//! Which objects two processes have in common.

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::inspect::Unavailable;
use crate::process::Process;

/// An object that two processes have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name, as [`HandleEntry::name`](super::HandleEntry::name) has it.
    pub name: Option<String>,
    /// Under which values the one and the other process has it.
    pub handles: [Vec<HandleValue>; 2],
}

/// What two processes have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedObjects {
    /// The objects, in the order of the first process's handles.
    pub objects: Vec<SharedObject>,
    /// The handles that couldn't be compared, with the id of the process that has them, and why.
    pub incomplete: Vec<(u32, HandleValue, Unavailable)>,
}

/// Finds the objects that two processes have in common, and by which handles, by the kernel's own comparison: values
/// and names say nothing about it.
///
/// On Linux, one object is one open file description, or the same memory or the same process by several of them. Two
/// processes that have opened the same file or device each for themselves don't share an object.
///
/// ```no_run
/// use handover::Process;
/// use handover::inspect::shared_objects;
///
/// let sharing = shared_objects(&Process::open_for_query(264)?, &Process::open_for_query(272)?)?;
/// for object in &sharing.objects {
///     println!("{} {:?}", object.kind, object.handles);
/// }
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::ProcessExited`] if one has ended; [`Error::AccessDenied`] if this process mustn't look into one of them;
/// [`Error::InvalidInput`] if both are the same process.
#[doc(alias = "CompareObjectHandles", alias = "kcmp")]
pub fn shared_objects(one: &Process, other: &Process) -> Result<SharedObjects> {
    if one.id() == other.id() {
        let what = format!("process {} and process {0}", one.id());
        return Err(Error::invalid(what, "are the same; two processes can have objects in common"));
    }
    let sharing = super::imp::handle_table::shared_objects(one, other);
    for process in [one, other] {
        if process.has_exited()? {
            return Err(Error::ProcessExited { pid: process.id(), context: "look into".into() });
        }
    }
    sharing
}
