//! Reads the handles of other processes.
//!
//! The kernel answers queries only about handles of the calling process, so each handle is duplicated for as long as it
//! is queried.

use std::collections::HashMap;
use std::io;

use crate::duplicate::refused_duplication;
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue, ObjectKind};
use crate::inspect::handle_table::{HandleEntry, Unavailable};
use crate::inspect::shared_objects::{SharedObject, SharedObjects};
use crate::process::Process;
use crate::sys::handle::{duplicate_from, is_invalid_handle, kind_of};
use crate::sys::io::{BorrowedHandle, HasHandle, Owned};
use crate::sys::name_query_thread::{Answer, Asker};
use crate::sys::object_info as sys;
use crate::sys::process::{ask_for_id, ids_of_thread};
use crate::sys::table::{Listed, handles_of};
use crate::sys::{SysError, SysResult};

pub(crate) use crate::handle::access_names::words;

/// The number of files whose name queries may time out before no more are made. Each costs 100 ms.
const MAX_UNANSWERED: usize = 20;

/// Opens a process with the right to duplicate its handles, or without it if this user doesn't have that right.
pub(crate) fn open(id: u32) -> Result<Process> {
    match Process::open_with(id, Access::PROCESS_DUP_HANDLE) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Process::open(id),
        other => other,
    }
}

/// Returns the handles of a process.
pub(crate) fn entries(process: &Process) -> Result<Vec<HandleEntry>> {
    Ok(entries_of(listed(process)?, process.handle(), |error| unavailable_reason(process, error)))
}

/// Returns the handles that a process has inherited, which are those with the inheritable flag. The process's id can't
/// be reused meanwhile.
pub(super) fn inherited(id: u32, process: BorrowedHandle<'_>) -> SysResult<Vec<HandleEntry>> {
    let inherited = handles_of(id)?.into_iter().filter(|handle| handle.inheritable).collect();
    Ok(entries_of(inherited, process, |error| Unavailable::because(error)))
}

fn entries_of(
    list: Vec<Listed>,
    process: BorrowedHandle<'_>,
    unavailable_reason: impl Fn(&SysError) -> Unavailable,
) -> Vec<HandleEntry> {
    let mut names = Names::default();
    let mut kinds = Kinds::default();
    let mut entries = Vec::new();
    for listed in list {
        let (kind, name) = match duplicate_from(process, listed.value) {
            Ok(copy) => {
                let kind = kind_of(copy.handle());
                let name = match &kind {
                    Ok(kind) => names.of(kind, copy),
                    Err(error) => Err(Unavailable::because(error)),
                };
                (kind.map_err(Unavailable::because), name)
            }
            // The handle was closed after the list was made.
            Err(error) if is_invalid_handle(&error) => continue,
            Err(error) => (Err(unavailable_reason(&error)), Err(unavailable_reason(&error))),
        };
        if let Ok(kind) = &kind {
            kinds.0.insert(listed.kind, kind.clone());
        }
        let entry = HandleEntry {
            value: listed.value,
            kind,
            access: listed.access.bits(),
            inheritable: listed.inheritable,
            protected: listed.protected,
            name,
        };
        entries.push((listed.kind, entry));
    }
    if entries.iter().any(|(_, entry)| entry.kind.is_err()) {
        kinds.learn_from_this_process();
    }
    let completed = entries.into_iter().map(|(number, mut entry)| {
        if let (Err(_), Some(kind)) = (&entry.kind, kinds.0.get(&number)) {
            entry.kind = Ok(kind.clone());
        }
        entry
    });
    completed.collect()
}

fn listed(process: &Process) -> Result<Vec<Listed>> {
    let mut listed = handles_of(process.id()).map_err(process.failed())?;
    listed.sort_unstable_by_key(|handle| handle.value);
    Ok(listed)
}

/// Returns the reason why a handle couldn't be duplicated.
fn unavailable_reason(process: &Process, error: &SysError) -> Unavailable {
    let same_kind = SysError::new(error.call, error.kind());
    match refused_duplication(process, "duplicate its handles", same_kind) {
        Error::AccessDenied { right, .. } => Unavailable::because(format_args!(
            "this process lacks the right {right} to process {}",
            process.id()
        )),
        _ => Unavailable::because(error),
    }
}

/// The kinds that the system's type numbers stand for. A type number learned from one handle also gives the kind of
/// handles that can't be queried.
#[derive(Debug, Default)]
struct Kinds(HashMap<u16, ObjectKind>);

impl Kinds {
    fn learn_from_this_process(&mut self) {
        for listed in handles_of(std::process::id()).unwrap_or_default() {
            if let Ok(kind) = crate::sys::handle::kind_of_value(listed.value) {
                self.0.entry(listed.kind).or_insert(kind);
            }
        }
    }
}

/// Queries the names of objects.
#[derive(Debug, Default)]
struct Names {
    asker: Asker,
    unanswered: usize,
}

impl Names {
    fn of(&mut self, kind: &ObjectKind, copy: Owned) -> Result<Option<String>, Unavailable> {
        match kind {
            ObjectKind::File => self.of_file(copy),
            ObjectKind::Process => match ask_for_id(copy.handle()) {
                Some(id) => Ok(Some(format!("process {id}"))),
                None => Err(Unavailable::because("the handle lacks the right to query the process id")),
            },
            ObjectKind::Thread => match ids_of_thread(copy.handle()) {
                Some((thread, process)) => Ok(Some(format!("thread {thread} of process {process}"))),
                None => Err(Unavailable::because("the handle lacks the right to query the thread id")),
            },
            _ => sys::name_of(copy.handle()).map_err(Unavailable::because),
        }
    }

    fn of_file(&mut self, copy: Owned) -> Result<Option<String>, Unavailable> {
        if self.unanswered >= MAX_UNANSWERED {
            return Err(Unavailable::because(format_args!(
                "not asked, because {MAX_UNANSWERED} earlier queries for names of files timed out"
            )));
        }
        match self.asker.name_of(copy.handle()) {
            Ok(Answer::Name(name)) => return Ok(name),
            Ok(Answer::Never) => {}
            // The handle leaks on purpose, because closing it would block as long as the query does.
            Ok(Answer::Stuck) => std::mem::forget(copy),
            Err(error) => return Err(Unavailable::because(error)),
        }
        self.unanswered += 1;
        Err(Unavailable::because(
            "the kernel doesn't answer the query for the name, probably because a thread is blocked in a call on the \
             file, such as a read from a pipe",
        ))
    }
}

/// A handle of one of the two processes, and this process's duplicate of it.
#[derive(Debug)]
struct Candidate {
    which: usize,
    value: HandleValue,
    copy: Owned,
}

/// Returns the objects to which both processes have handles.
pub(crate) fn shared_objects(one: &Process, other: &Process) -> Result<SharedObjects> {
    let mut shared = SharedObjects::default();
    // Where the system reports the kernel addresses of objects, only handles with the same address can refer to the
    // same object.
    let mut candidates: HashMap<(ObjectKind, usize), Vec<Candidate>> = HashMap::new();
    // Both lists are made before the first duplicate, which would otherwise appear in the list of this process.
    let lists = [listed(one)?, listed(other)?];
    for (which, (process, list)) in std::iter::zip([one, other], lists).enumerate() {
        for listed in list {
            let copy = match duplicate_from(process.handle(), listed.value) {
                Ok(copy) => copy,
                Err(error) if is_invalid_handle(&error) => continue,
                Err(error) => {
                    shared.incomplete.push((process.id(), listed.value, unavailable_reason(process, &error)));
                    continue;
                }
            };
            // An object with no other handles than this one and our duplicate is not shared.
            let is_alone = sys::handle_count(copy.handle()).is_ok_and(|count| count <= 2);
            match kind_of(copy.handle()) {
                Ok(_) if is_alone => {}
                Ok(kind) => {
                    let candidate = Candidate { which, value: listed.value, copy };
                    candidates.entry((kind, listed.object)).or_default().push(candidate);
                }
                Err(error) => {
                    shared.incomplete.push((process.id(), listed.value, Unavailable::because(error)));
                }
            }
        }
    }
    let mut names = Names::default();
    let groups = candidates.into_iter().flat_map(|((kind, address), candidates)| {
        // Since Windows 11 24H2, the addresses are zero for most callers.
        let parts = if address == 0 { by_handle_count(candidates) } else { vec![candidates] };
        parts.into_iter().map(move |candidates| (kind.clone(), candidates))
    });
    for (kind, candidates) in groups {
        let groups = grouped(candidates).map_err(|error| {
            Error::system(format!("the handles of processes {} and {}", one.id(), other.id()), error)
        })?;
        shared.objects.extend(groups.into_iter().map(|(first, handles)| SharedObject {
            name: names.of(&kind, first).ok().flatten(),
            kind: kind.clone(),
            handles,
        }));
    }
    shared.objects.sort_unstable_by(|a, b| a.handles.cmp(&b.handles));
    Ok(shared)
}

/// Splits candidates into parts that can't have an object in common, so that fewer handles have to be compared: handles
/// to one object report the same number of handles. If a number changes meanwhile, all stay together.
fn by_handle_count(candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let counts = || -> Vec<Option<u32>> {
        candidates.iter().map(|candidate| sys::handle_count(candidate.copy.handle()).ok()).collect()
    };
    let (before, after) = (counts(), counts());
    if before != after || before.contains(&None) {
        return vec![candidates];
    }
    let mut parts: HashMap<Option<u32>, Vec<Candidate>> = HashMap::new();
    for (count, candidate) in before.into_iter().zip(candidates) {
        parts.entry(count).or_default().push(candidate);
    }
    parts.into_values().collect()
}

/// An object that both processes have: a handle to it, and the handle values in both.
type Group = (Owned, [Vec<HandleValue>; 2]);

/// Returns the objects that both processes have, by comparing the first process's handles with the second's.
fn grouped(candidates: Vec<Candidate>) -> SysResult<Vec<Group>> {
    let (ones, mut others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|some| some.which == 0);
    let mut groups: Vec<Group> = Vec::new();
    'ones: for one in ones {
        for (first, handles) in &mut groups {
            if sys::is_same(first.handle(), one.copy.handle())? {
                handles[0].push(one.value);
                continue 'ones;
            }
        }
        let mut same = Vec::new();
        let mut rest = Vec::with_capacity(others.len());
        for other in others {
            if sys::is_same(one.copy.handle(), other.copy.handle())? {
                same.push(other.value);
            } else {
                rest.push(other);
            }
        }
        others = rest;
        if !same.is_empty() {
            groups.push((one.copy, [vec![one.value], same]));
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsHandle;

    use super::*;
    use crate::sys::create_object;
    use crate::sys::handle::duplicate_here;

    #[test]
    fn thread_name_has_its_id_and_its_process() -> io::Result<()> {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || receiver.recv());
        let copy = duplicate_here(thread.as_handle(), None, false)?;
        let name = Names::default().of(&ObjectKind::Thread, copy).map_err(io::Error::other)?.expect("a name");
        let words: Vec<&str> = name.split(' ').collect();
        let [a_thread, id, "of", "process", process] = words[..] else { panic!("{name}") };
        assert_eq!((a_thread, process), ("thread", &*std::process::id().to_string()));
        assert!(id.parse::<u32>().is_ok_and(|id| id != 0), "{name}");
        drop(sender);
        assert!(thread.join().is_ok());
        Ok(())
    }

    #[test]
    fn name_queries_stop_after_many_timeouts() -> io::Result<()> {
        let file = || create_object::event(true);
        let mut names = Names { unanswered: MAX_UNANSWERED - 1, ..Names::default() };
        assert!(names.of_file(file()?).is_ok());
        names.unanswered = MAX_UNANSWERED;
        let unavailable = names.of_file(file()?).expect_err("not asked");
        assert!(unavailable.to_string().contains("not asked"), "{unavailable}");
        Ok(())
    }
}
