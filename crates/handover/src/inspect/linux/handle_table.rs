//! Reads the descriptors of other processes from `/proc`.

use std::collections::HashMap;
use std::io;

use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::inspect::handle_table::{HandleEntry, Unavailable};
use crate::inspect::shared_objects::{SharedObject, SharedObjects};
use crate::process::Process;
use crate::sys::proc_fd::{self as sys, Inode, Row};
use crate::sys::proc_pid::{ProcFault, check_shows_our_ids};
use crate::sys::{SysError, SysResult};

/// Opens a process for queries. On Linux that needs no more rights than any other use.
pub(crate) fn open(id: u32) -> Result<Process> {
    Process::open(id)
}

/// Checks that `/proc` is mounted and shows the same process ids that this process uses. In another PID namespace, the
/// same number is another process.
pub(super) fn check_proc() -> Result<()> {
    check_shows_our_ids().map_err(|fault| match fault {
        ProcFault::Failed(source) => Error::system("/proc, which must be mounted", source),
        fault => Error::invalid("/proc", fault.to_string()),
    })
}

/// Returns the descriptors of a process.
pub(crate) fn entries(process: &Process) -> Result<Vec<HandleEntry>> {
    check_proc()?;
    entries_of(process.id()).map_err(|error| read_error(process, error))
}

/// Returns the descriptors of a process whose id can't be reused meanwhile.
pub(super) fn entries_of(process: u32) -> SysResult<Vec<HandleEntry>> {
    let (_, rows) = rows(process)?;
    Ok(rows.into_iter().map(|(value, row)| entry(value, row)).collect())
}

/// Returns the descriptors that are still open when they are read, and the thread through which they were read.
fn rows(process: u32) -> SysResult<(u32, Vec<(HandleValue, Row)>)> {
    let (thread, values) = sys::values_of(process)?;
    let row = |value| sys::row(thread, value).map(|row| row.map(|row| (value, row))).transpose();
    let rows: SysResult<_> = values.into_iter().filter_map(row).collect();
    Ok((thread, rows?))
}

/// Returns the error for a failed read. The caller checks whether the process has exited since.
fn read_error(process: &Process, error: SysError) -> Error {
    let object = format!("the descriptors of process {}", process.id());
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::AccessDenied { call: error.call, object, right: "to trace it (ptrace(2))" };
    }
    Error::system(object, error)
}

fn entry(value: HandleValue, row: Row) -> HandleEntry {
    HandleEntry {
        value,
        access: row.flags,
        inheritable: row.inheritable,
        protected: false,
        name: name(&row),
        kind: row.kind.map_err(Unavailable::because),
    }
}

/// Returns the text that distinguishes the object from others of its kind. An object without a file, a number or a
/// process has no such text.
fn name(row: &Row) -> Result<Option<String>, Unavailable> {
    match row.process {
        Some(process @ 1..) => Ok(Some(format!("process {process}"))),
        Some(0) => Err(Unavailable::because("the process is outside this PID namespace")),
        Some(_) => Err(Unavailable::because("the process has exited")),
        None => Ok((!row.link.starts_with("anon_inode:")).then(|| row.link.clone())),
    }
}

/// Returns the access of a descriptor in words.
pub(crate) fn words(_: Option<&ObjectKind>, access: u32) -> String {
    const WORDS: [(OFlags, &str); 6] = [
        (OFlags::PATH, "path"),
        (OFlags::APPEND, "append"),
        (OFlags::NONBLOCK, "nonblock"),
        (OFlags::SYNC, "sync"),
        (OFlags::DIRECT, "direct"),
        (OFlags::DIRECTORY, "directory"),
    ];
    // The kernel sets `O_LARGEFILE` on each file, for sizes beyond 2 GiB.
    let flags = OFlags::from_bits_retain(access).difference(OFlags::LARGEFILE);
    let mut rest = flags.difference(OFlags::ACCMODE);
    let mut words = Vec::new();
    if !flags.contains(OFlags::PATH) {
        words.push(match flags & OFlags::RWMODE {
            OFlags::RDONLY => "read",
            OFlags::WRONLY => "write",
            _ => "read, write",
        });
    }
    for (flag, word) in WORDS {
        if rest.contains(flag) {
            words.push(word);
            rest.remove(flag);
        }
    }
    let mut words = words.join(", ");
    if !rest.is_empty() {
        words.push_str(&format!(", {:#o}", rest.bits()));
    }
    words
}

/// The properties that two descriptors of one object share.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Object {
    /// Shared memory: the same memory counts as one object, even if it was opened several times.
    Memory(Inode),
    /// A process.
    Process(u32),
    /// Any other file. Descriptors with equal values may refer to one open file description; the kernel is asked.
    Described(Inode, u32),
}

fn object(row: &Row) -> Object {
    match (row.process, row.kind.as_ref()) {
        (Some(process @ 1..), _) => Object::Process(process.unsigned_abs()),
        (None, Ok(ObjectKind::SharedMemory)) => Object::Memory(row.inode),
        _ => Object::Described(row.inode, row.flags),
    }
}

/// Returns the objects to which both processes have descriptors.
pub(crate) fn shared_objects(one: &Process, other: &Process) -> Result<SharedObjects> {
    let mut candidates: HashMap<Object, Vec<(usize, HandleValue, Row)>> = HashMap::new();
    check_proc()?;
    let mut threads = [0; 2];
    for (which, process) in [one, other].into_iter().enumerate() {
        let (thread, rows) = rows(process.id()).map_err(|error| read_error(process, error))?;
        threads[which] = thread;
        for (value, row) in rows {
            candidates.entry(object(&row)).or_default().push((which, value, row));
        }
    }
    let mut shared = SharedObjects::default();
    for (object, rows) in candidates {
        let groups = match object {
            Object::Memory(_) | Object::Process(_) => vec![rows],
            // All of them belong to the same process.
            Object::Described(..) if rows.iter().all(|row| row.0 == rows[0].0) => continue,
            Object::Described(..) => by_description(rows, [one, other], threads)?,
        };
        shared.objects.extend(groups.into_iter().filter_map(shared_object));
    }
    shared.objects.sort_unstable_by(|a, b| a.handles.cmp(&b.handles));
    Ok(shared)
}

/// Sorts descriptors into groups, one for each open file description.
///
/// `kcmp` defines a total order, so a binary search finds the group of each descriptor. A descriptor that is closed
/// meanwhile is dropped.
fn by_description(
    rows: Vec<(usize, HandleValue, Row)>,
    processes: [&Process; 2],
    threads: [u32; 2],
) -> Result<Vec<Vec<(usize, HandleValue, Row)>>> {
    let mut groups: Vec<Vec<(usize, HandleValue, Row)>> = Vec::new();
    'rows: for row in rows {
        let this = (threads[row.0], row.1);
        let (mut from, mut to) = (0, groups.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            let first = &groups[middle][0];
            match sys::compare(this, (threads[first.0], first.1)) {
                Ok(Some(std::cmp::Ordering::Less)) => to = middle,
                Ok(Some(std::cmp::Ordering::Greater)) => from = middle + 1,
                Ok(Some(std::cmp::Ordering::Equal)) => {
                    groups[middle].push(row);
                    continue 'rows;
                }
                // One of the two was closed. Comparing this descriptor with itself tells which.
                Ok(None) if matches!(sys::compare(this, this), Ok(Some(_))) => {
                    // The group's first descriptor was closed, so the next one represents the group now.
                    groups[middle].remove(0);
                    if groups[middle].is_empty() {
                        groups.remove(middle);
                    }
                    (from, to) = (0, groups.len());
                }
                Ok(None) => continue 'rows,
                // The answer is unknown, so an empty result would be wrong.
                Err(error) => {
                    let [one, other] = processes.map(Process::id);
                    let object = format!("the descriptors of processes {one} and {other}");
                    return Err(match error.kind() {
                        io::ErrorKind::PermissionDenied => {
                            Error::AccessDenied { call: "kcmp", object, right: "to trace them (ptrace(2))" }
                        }
                        io::ErrorKind::Unsupported => {
                            let advice =
                                "this kernel was built without CONFIG_KCMP, or a sandbox's filter refuses it";
                            Error::system(format!("{object} ({advice})"), error)
                        }
                        _ => Error::system(object, error),
                    });
                }
            }
        }
        groups.insert(from, vec![row]);
    }
    Ok(groups)
}

/// Returns the object of these descriptors if both processes have some.
fn shared_object(rows: Vec<(usize, HandleValue, Row)>) -> Option<SharedObject> {
    let mut handles = [Vec::new(), Vec::new()];
    for (which, value, _) in &rows {
        handles[*which].push(*value);
    }
    let (_, _, first) = rows.into_iter().next()?;
    let is_shared = handles.iter().all(|values| !values.is_empty());
    let name = name(&first).ok().flatten();
    is_shared.then(|| SharedObject { kind: first.kind.unwrap_or(ObjectKind::File), name, handles })
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "faults")]
    mod kcmp_failures {
        use std::os::fd::{AsRawFd, OwnedFd};

        use super::super::*;
        use crate::faults::{Turn, taking};

        const CLOSED: i32 = libc::EBADF;

        /// Groups two descriptors of each of two processes. They refer to two objects, and the first comparison is
        /// between the first two descriptors.
        fn grouped(turn: Turn) -> Result<Vec<Vec<usize>>> {
            let id = std::process::id();
            let process = Process::open(id)?;
            let one: OwnedFd = std::fs::File::open("/proc/self/stat").expect("/proc is mounted").into();
            let other: OwnedFd = std::fs::File::open("/proc/self/stat").expect("/proc is mounted").into();
            let copy = |of: &OwnedFd| of.try_clone().expect("a descriptor can be cloned");
            let all = [copy(&one), copy(&other), one, other];
            let values =
                all.each_ref().map(|it| HandleValue::try_from(u64::from(it.as_raw_fd().unsigned_abs())));
            let mut rows = Vec::new();
            for (index, value) in values.iter().enumerate() {
                let value = *value.as_ref().expect("a handle value");
                let row = sys::row(id, value).expect("the row can be read").expect("the descriptor is open");
                rows.push((index / 2, value, row));
            }
            let (groups, were_taken) =
                taking([turn], || by_description(rows, [&process, &process], [id, id]));
            assert!(were_taken);
            let index_of = |value: HandleValue| {
                values
                    .iter()
                    .position(|it| it.as_ref().is_ok_and(|it| *it == value))
                    .expect("one of the values")
            };
            let mut groups: Vec<Vec<usize>> = groups?
                .into_iter()
                .map(|group| group.into_iter().map(|(_, value, _)| index_of(value)).collect())
                .collect();
            groups.sort_unstable();
            Ok(groups)
        }

        #[test]
        fn descriptor_closed_during_the_comparison_is_dropped() -> Result<()> {
            // No descriptor is closed.
            assert_eq!(grouped(Turn::comes_after("kcmp", 0, || {}))?, [[0, 2], [1, 3]]);
            // The first of the compared descriptors is closed: the second can be compared with itself.
            assert_eq!(grouped(Turn::fails("kcmp", 0..1, CLOSED))?, [vec![1, 3], vec![2]]);
            // The second descriptor is closed.
            assert_eq!(grouped(Turn::fails("kcmp", 0..2, CLOSED))?, [vec![0, 2], vec![3]]);
            // The process has exited.
            assert_eq!(grouped(Turn::fails("kcmp", 0..2, libc::ESRCH))?, [vec![0, 2], vec![3]]);
            Ok(())
        }

        #[test]
        fn failed_comparison_is_an_error() {
            let refused = grouped(Turn::fails("kcmp", 0..1, libc::EPERM));
            assert!(matches!(refused, Err(Error::AccessDenied { call: "kcmp", .. })), "{refused:?}");
            let unknown = grouped(Turn::fails("kcmp", 0..1, libc::ENOSYS));
            assert!(matches!(unknown, Err(Error::System { call: "kcmp", .. })), "{unknown:?}");
        }
    }
}
