//! Other processes' descriptors.

use std::collections::HashMap;
use std::io;

use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::inspect::handle_table::{HandleEntry, Unavailable};
use crate::inspect::shared_objects::{SharedObject, SharedObjects};
use crate::process::Process;
use crate::sys::proc_fd::{self as sys, Inode, Row};
use crate::sys::{SysError, SysResult};

/// Opens a process to look into it, for which nothing more is needed here than for anything else.
pub(crate) fn open(id: u32) -> Result<Process> {
    Process::open(id)
}

/// Whether `/proc` is there and has the ids that this process knows. In another namespace of ids, the same number is another
/// process's.
pub(super) fn check_proc() -> Result<()> {
    let here = std::process::id();
    match sys::own_id() {
        Ok(id) if id == here => Ok(()),
        Ok(id) => Err(Error::invalid(
            "/proc",
            format!(
                "has process {id} for this one, which is {here}: it shows another namespace of ids; mount it anew"
            ),
        )),
        Err(source) => Err(Error::system("/proc, which has to be mounted", source)),
    }
}

/// The descriptors of a process.
pub(crate) fn entries(process: &Process) -> Result<Vec<HandleEntry>> {
    check_proc()?;
    entries_of(process.id()).map_err(|error| refused(process, error))
}

/// The same of a process that can't become another one now.
pub(super) fn entries_of(process: u32) -> SysResult<Vec<HandleEntry>> {
    let (_, rows) = rows(process)?;
    Ok(rows.into_iter().map(|(value, row)| entry(value, row)).collect())
}

/// Each of a process's descriptors that is still open when its turn comes, and the thread by which they are seen.
fn rows(process: u32) -> SysResult<(u32, Vec<(HandleValue, Row)>)> {
    let (thread, values) = sys::values_of(process)?;
    let row = |value| sys::row(thread, value).map(|row| row.map(|row| (value, row))).transpose();
    let rows: SysResult<_> = values.into_iter().filter_map(row).collect();
    Ok((thread, rows?))
}

/// Who has asked looks whether the process has ended since.
fn refused(process: &Process, error: SysError) -> Error {
    let what = format!("the descriptors of process {}", process.id());
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::AccessDenied { call: error.call, object: what, right: "to trace it (ptrace(2))" };
    }
    Error::system(what, error)
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

/// What tells the object from others of its kind. What has no file, no number and no process has only its kind.
fn name(row: &Row) -> Result<Option<String>, Unavailable> {
    match row.process {
        Some(process @ 1..) => Ok(Some(format!("process {process}"))),
        Some(0) => Err(Unavailable::because("a process outside this namespace of ids")),
        Some(_) => Err(Unavailable::because("a process that is no more")),
        None => Ok((!row.link.starts_with("anon_inode:")).then(|| row.link.clone())),
    }
}

/// What a descriptor is open for.
pub(crate) fn words(_: Option<&ObjectKind>, access: u32) -> String {
    const WORDS: [(OFlags, &str); 6] = [
        (OFlags::PATH, "path"),
        (OFlags::APPEND, "append"),
        (OFlags::NONBLOCK, "nonblock"),
        (OFlags::SYNC, "sync"),
        (OFlags::DIRECT, "direct"),
        (OFlags::DIRECTORY, "directory"),
    ];
    /// The kernel's own, for files larger than 2 GiB: each has it.
    const LARGE_FILE: u32 = 0o100_000;
    let flags = OFlags::from_bits_retain(access & !LARGE_FILE);
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

/// What two descriptors have in common if they refer to one object.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Object {
    /// The same memory, however often it was opened.
    Memory(Inode),
    /// The same process.
    Process(u32),
    /// It may be the same open file description: the kernel is asked about those that are alike.
    Described(Inode, u32),
}

fn object(row: &Row) -> Object {
    match (row.process, row.kind.as_ref()) {
        (Some(process @ 1..), _) => Object::Process(process.unsigned_abs()),
        (None, Ok(ObjectKind::SharedMemory)) => Object::Memory(row.inode),
        _ => Object::Described(row.inode, row.flags),
    }
}

/// Those of the two processes' descriptors that refer to one object.
pub(crate) fn shared_objects(one: &Process, other: &Process) -> Result<SharedObjects> {
    let mut alike: HashMap<Object, Vec<(usize, HandleValue, Row)>> = HashMap::new();
    check_proc()?;
    let mut threads = [0; 2];
    for (which, process) in [one, other].into_iter().enumerate() {
        let (thread, rows) = rows(process.id()).map_err(|error| refused(process, error))?;
        threads[which] = thread;
        for (value, row) in rows {
            alike.entry(object(&row)).or_default().push((which, value, row));
        }
    }
    let mut sharing = SharedObjects::default();
    for (object, rows) in alike {
        let groups = match object {
            Object::Memory(_) | Object::Process(_) => vec![rows],
            // Only one of the two has any.
            Object::Described(..) if rows.iter().all(|row| row.0 == rows[0].0) => continue,
            Object::Described(..) => by_description(rows, [one, other], threads)?,
        };
        sharing.objects.extend(groups.into_iter().filter_map(shared_object));
    }
    sharing.objects.sort_unstable_by(|a, b| a.handles.cmp(&b.handles));
    Ok(sharing)
}

/// Sorts descriptors into groups of one open file description each.
///
/// The kernel's answers are a total order, so each finds its place among the groups by halving. One that is closed
/// meanwhile drops out.
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
                // Which of the two is closed by now? The other is asked about once more.
                Ok(None) if matches!(sys::compare(this, this), Ok(Some(_))) => {
                    // Whoever else is in the group stands for it now.
                    groups[middle].remove(0);
                    if groups[middle].is_empty() {
                        groups.remove(middle);
                    }
                    (from, to) = (0, groups.len());
                }
                Ok(None) => continue 'rows,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let [one, other] = processes.map(Process::id);
                    let what = format!("the descriptors of processes {one} and {other}");
                    return Err(Error::AccessDenied {
                        call: "kcmp",
                        object: what,
                        right: "to trace them (ptrace(2))",
                    });
                }
                // Without that call nobody can tell, and what isn't known isn't nothing.
                Err(source) => {
                    return Err(Error::system("the comparison of two descriptors", source));
                }
            }
        }
        groups.insert(from, vec![row]);
    }
    Ok(groups)
}

/// The object behind these descriptors, if both processes have some.
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
    mod between_two_looks {
        use std::os::fd::{AsRawFd, OwnedFd};

        use super::super::*;
        use crate::faults::{Turn, taking};

        const CLOSED: i32 = libc::EBADF;

        /// Two of the first process's descriptors and two of the second's, each one object, in an order in which the first
        /// comparison is of the first two.
        fn grouped(turn: Turn) -> Result<Vec<Vec<usize>>> {
            let id = std::process::id();
            let process = Process::open(id)?;
            let one: OwnedFd = std::fs::File::open("/proc/self/stat").expect("it is there").into();
            let other: OwnedFd = std::fs::File::open("/proc/self/stat").expect("it is there").into();
            let copy = |of: &OwnedFd| of.try_clone().expect("there is room");
            let all = [copy(&one), copy(&other), one, other];
            let values =
                all.each_ref().map(|it| HandleValue::try_from(u64::from(it.as_raw_fd().unsigned_abs())));
            let mut rows = Vec::new();
            for (place, value) in values.iter().enumerate() {
                let value = *value.as_ref().expect("it is open");
                let row = sys::row(id, value).expect("one can look").expect("it is open");
                rows.push((place / 2, value, row));
            }
            let (groups, were_taken) =
                taking([turn], || by_description(rows, [&process, &process], [id, id]));
            assert!(were_taken);
            let place = |value: HandleValue| {
                values.iter().position(|it| it.as_ref().is_ok_and(|it| *it == value)).expect("one of those")
            };
            let mut groups: Vec<Vec<usize>> = groups?
                .into_iter()
                .map(|group| group.into_iter().map(|(_, value, _)| place(value)).collect())
                .collect();
            groups.sort_unstable();
            Ok(groups)
        }

        #[test]
        fn what_is_closed_between_two_looks_drops_out() -> Result<()> {
            // Nothing is.
            assert_eq!(grouped(Turn::comes_after("kcmp", 0, || {}))?, [[0, 2], [1, 3]]);
            // The first of the two that were compared: the second can be compared with itself.
            assert_eq!(grouped(Turn::fails("kcmp", 0..1, CLOSED))?, [vec![1, 3], vec![2]]);
            // The second.
            assert_eq!(grouped(Turn::fails("kcmp", 0..2, CLOSED))?, [vec![0, 2], vec![3]]);
            // The process is no more.
            assert_eq!(grouped(Turn::fails("kcmp", 0..2, libc::ESRCH))?, [vec![0, 2], vec![3]]);
            Ok(())
        }

        #[test]
        fn what_can_not_be_compared_is_an_error() {
            let refused = grouped(Turn::fails("kcmp", 0..1, libc::EPERM));
            assert!(matches!(refused, Err(Error::AccessDenied { call: "kcmp", .. })), "{refused:?}");
            let unknown = grouped(Turn::fails("kcmp", 0..1, libc::ENOSYS));
            assert!(matches!(unknown, Err(Error::System { call: "kcmp", .. })), "{unknown:?}");
        }
    }
}
