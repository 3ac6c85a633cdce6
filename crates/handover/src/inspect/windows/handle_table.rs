//! Other processes' handles.
//!
//! The kernel answers about one's own handles alone, so each is duplicated for the length of the questions.

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

/// How many files may fail to tell their names before no more are asked: each costs a tenth of a second.
const MOST_UNANSWERED: usize = 20;

/// Opens a process with the right to duplicate out of it or, if this user hasn't that, without.
pub(crate) fn open(id: u32) -> Result<Process> {
    match Process::open_with(id, Access::PROCESS_DUP_HANDLE) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Process::open(id),
        other => other,
    }
}

/// The handles of a process.
pub(crate) fn entries(process: &Process) -> Result<Vec<HandleEntry>> {
    Ok(entries_of(listed(process)?, process.handle(), |error| refusal(process, error)))
}

/// The handles that a process which can't become another one now has inherited: those with the flag by which
/// that happens.
pub(super) fn inherited(id: u32, process: BorrowedHandle<'_>) -> SysResult<Vec<HandleEntry>> {
    let inherited = handles_of(id)?.into_iter().filter(|handle| handle.inheritable).collect();
    Ok(entries_of(inherited, process, |error| Unavailable::because(error)))
}

fn entries_of(
    list: Vec<Listed>,
    process: BorrowedHandle<'_>,
    refusal: impl Fn(&SysError) -> Unavailable,
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
            // Closed since the list was made.
            Err(error) if is_invalid_handle(&error) => continue,
            Err(error) => (Err(refusal(&error)), Err(refusal(&error))),
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

/// Why a handle couldn't be duplicated.
fn refusal(process: &Process, error: &SysError) -> Unavailable {
    let same_kind = SysError::new(error.call, error.kind());
    match refused_duplication(process, "look into", same_kind) {
        Error::AccessDenied { right, .. } => {
            Unavailable::because(format_args!("the right {right} to process {} is lacking", process.id()))
        }
        _ => Unavailable::because(error),
    }
}

/// Which kinds the system's numbers stand for: what is learned from one handle is known of the others, also
/// of those that can't be asked about.
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

/// Asks for names.
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
                None => Err(Unavailable::because("the handle carries no right to ask which process it is")),
            },
            ObjectKind::Thread => match ids_of_thread(copy.handle()) {
                Some((thread, process)) => Ok(Some(format!("thread {thread} of process {process}"))),
                None => Err(Unavailable::because("the handle carries no right to ask which thread it is")),
            },
            _ => sys::name_of(copy.handle()).map_err(Unavailable::because),
        }
    }

    fn of_file(&mut self, copy: Owned) -> Result<Option<String>, Unavailable> {
        if self.unanswered >= MOST_UNANSWERED {
            return Err(Unavailable::because(format_args!(
                "not asked: {MOST_UNANSWERED} others didn't answer"
            )));
        }
        match self.asker.name_of(copy.handle()) {
            Ok(Answer::Name(name)) => return Ok(name),
            Ok(Answer::Never) => {}
            // Closing it would wait as long as the question does.
            Ok(Answer::Stuck) => std::mem::forget(copy),
            Err(error) => return Err(Unavailable::because(error)),
        }
        self.unanswered += 1;
        Err(Unavailable::because(
            "the kernel doesn't answer: somebody is in a call on it, as a reader of a pipe is",
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

/// Those of the two processes' handles that refer to one object.
pub(crate) fn shared_objects(one: &Process, other: &Process) -> Result<SharedObjects> {
    let mut sharing = SharedObjects::default();
    // Where the kernel tells where an object is, only those at one place can be one.
    let mut candidates: HashMap<(ObjectKind, usize), Vec<Candidate>> = HashMap::new();
    // Both lists before the first duplicate, which would stand in this process's own.
    let lists = [listed(one)?, listed(other)?];
    for (which, (process, list)) in std::iter::zip([one, other], lists).enumerate() {
        for listed in list {
            let copy = match duplicate_from(process.handle(), listed.value) {
                Ok(copy) => copy,
                Err(error) if is_invalid_handle(&error) => continue,
                Err(error) => {
                    sharing.incomplete.push((process.id(), listed.value, refusal(process, &error)));
                    continue;
                }
            };
            // Of an object that has no handle but this one and our duplicate, nobody else has any.
            let is_alone = sys::handle_count(copy.handle()).is_ok_and(|count| count <= 2);
            match kind_of(copy.handle()) {
                Ok(_) if is_alone => {}
                Ok(kind) => {
                    let candidate = Candidate { which, value: listed.value, copy };
                    candidates.entry((kind, listed.object)).or_default().push(candidate);
                }
                Err(error) => {
                    sharing.incomplete.push((process.id(), listed.value, Unavailable::because(error)));
                }
            }
        }
    }
    let mut names = Names::default();
    for ((kind, _), candidates) in candidates {
        let groups = grouped(candidates).map_err(|error| {
            Error::system(format!("handles of processes {} and {}", one.id(), other.id()), error)
        })?;
        sharing.objects.extend(groups.into_iter().map(|(first, handles)| SharedObject {
            name: names.of(&kind, first).ok().flatten(),
            kind: kind.clone(),
            handles,
        }));
    }
    sharing.objects.sort_unstable_by(|a, b| a.handles.cmp(&b.handles));
    Ok(sharing)
}

/// One object that both have, with one handle to it and the values of both.
type Group = (Owned, [Vec<HandleValue>; 2]);

/// The objects that both processes have: each of the one's is looked for among the other's.
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
    fn a_thread_is_named_by_its_id_and_its_process() -> io::Result<()> {
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || told.recv());
        let copy = duplicate_here(thread.as_handle(), None, false)?;
        let name = Names::default().of(&ObjectKind::Thread, copy).map_err(io::Error::other)?.expect("a name");
        let words: Vec<&str> = name.split(' ').collect();
        let [a_thread, id, "of", "process", process] = words[..] else { panic!("{name}") };
        assert_eq!((a_thread, process), ("thread", &*std::process::id().to_string()));
        assert!(id.parse::<u32>().is_ok_and(|id| id != 0), "{name}");
        drop(tell);
        assert!(thread.join().is_ok());
        Ok(())
    }

    #[test]
    fn after_many_files_without_an_answer_no_more_are_asked() -> io::Result<()> {
        let file = || create_object::event(true);
        let mut names = Names { unanswered: MOST_UNANSWERED - 1, ..Names::default() };
        assert!(names.of_file(file()?).is_ok());
        names.unanswered = MOST_UNANSWERED;
        let untold = names.of_file(file()?).expect_err("not asked");
        assert!(untold.to_string().contains("not asked"), "{untold}");
        Ok(())
    }
}
