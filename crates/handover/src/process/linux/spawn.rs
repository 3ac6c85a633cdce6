//! Starting a child from what a [`Command`] says.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{pdeathsig_thread, reaper, resolve_program};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{Manifest, VARIABLE};
use crate::process::{Argument, Change, Default, Source, filled};
use crate::process::{Child, Command, Process};
use crate::sys::SysResult;
use crate::sys::handle::{FIRST, check_open, duplicate_here, reserve};
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::spawn as sys;
use crate::sys::spawn_plan::{ID, Plan, Stream};
use crate::sys::{process, rights};

/// Starts a child that runs.
///
/// 1. What needs no descriptor is checked first, and the program is found.
/// 2. Each listed object gets the number that the child will have it under: its own here, or, if that isn't possible, one
///    that is held for it. The object isn't duplicated here: closing the duplicate would take this process's record locks
///    off a file (`fcntl(2)`).
/// 3. With the numbers known, the arguments and the variables are written.
/// 4. The process is made, and comes with its descriptor. In it alone, everything is kept from the program that is to be
///    started, then what is listed is let through, and the program is started.
///
/// Whatever fails, what was made before is closed by its owner on the way out.
pub(crate) fn spawn(command: &Command<'_>, default: Default) -> Result<Child> {
    reaper::forget_the_ended();
    if command.program.is_empty() {
        return Err(Error::invalid("the program's name", "is empty"));
    }
    text(&command.program, "the program's name")?;
    let program = resolve_program::find(
        &command.program,
        command.path().as_ref().map(Option::as_deref),
        command.directory.is_some(),
    )?;
    check_system()?;
    let held = sys::hold_free_streams()
        .map_err(|error| Error::system("a standard stream that is closed here", error))?;
    let [input, output, error] = [0, 1, 2].map(|which| {
        let default = match (default, which) {
            (Default::Inherit, _) => &Source::Inherit,
            (Default::Collect, 0) => &Source::Null,
            (Default::Collect, _) => &Source::Piped,
        };
        command.streams[which].as_ref().map_or(default, |stdio| &stdio.0).open(which)
    });
    let [(input, own_input), (output, own_output), (error, own_error)] = [input?, output?, error?];
    let mut streams = [input, output, error];
    for (stream, held) in streams.iter_mut().zip(&held) {
        if held.is_some() && matches!(stream, Stream::Same) {
            *stream = Stream::Nothing;
        }
    }

    let mut numbers = Numbers::default();
    let mut inherited_handles = Vec::with_capacity(command.inherit.len() + 1);
    for listed in &command.inherit {
        let what = || format!("the object {:?}, which the child is to inherit", listed.name);
        let handle = listed.object.checked(what)?;
        let number = numbers.give(handle, listed.object.rights());
        inherited_handles
            .push((listed.name.clone(), number.map_err(|error| Error::on_handle(what(), error))?));
    }
    let attachment = command.attachment.map(|open| open()).transpose()?;
    for (name, object) in attachment.iter().flat_map(|attachment| attachment.handles()) {
        let what = || "the child's endpoint of a channel".to_owned();
        let number = numbers.give(object.checked(what)?, object.rights());
        inherited_handles.push((name.to_owned(), number.map_err(|error| Error::system(what(), error))?));
    }

    let (variables, id) = variables(command, &inherited_handles)?;
    let plan = Plan {
        program: text(program.as_os_str(), "the program's name")?,
        arguments: arguments(command, &inherited_handles)?,
        variables,
        id,
        inherit: numbers.given,
        streams,
        blocked: sys::blocked_signals().map_err(|error| Error::system("this thread", error))?,
        directory: match &command.directory {
            // The program's path was made absolute, so this doesn't change where it is looked for.
            Some(directory) => Some(text(directory.as_os_str(), "the current directory")?),
            None => None,
        },
        user: command.os.user,
        group: command.os.group,
        process_group: command.os.process_group,
        ends_with: None,
    };
    let started =
        if command.kill_with_parent { pdeathsig_thread::spawn_kept(plan) } else { sys::spawn(&plan) };
    let started = started.map_err(|error| {
        let what = match &command.directory {
            None => format!("the program {program:?}"),
            Some(directory) => format!("the program {program:?} in {directory:?}"),
        };
        Error::system(what, error)
    })?;
    drop(numbers.held);

    let process = Process::new(started.process, started.id);
    let mut child = Child::new(process, command.kill_on_drop, inherited_handles);
    child.set_attached(attachment.map(|attachment| attachment.attach(child.process())));
    child.stdin = own_input.map(|end| OwnedFd::from(end).into());
    child.stdout = own_output.map(|end| OwnedFd::from(end).into());
    child.stderr = own_error.map(|end| OwnedFd::from(end).into());
    Ok(child)
}

/// What of the system a spawn stands on.
fn check_system() -> Result<()> {
    let failed = |error| Error::system("a spawn, which needs Linux 5.11 or newer", error);
    sys::check_can_close_the_rest().map_err(failed)?;
    if process::forgets_children().map_err(failed)? {
        return Err(Error::invalid(
            "the signal SIGCHLD",
            "is ignored in this process, so the system forgets its children at once; set it to SIG_DFL",
        ));
    }
    Ok(())
}

/// Under which numbers the child has what is listed.
#[derive(Debug, Default)]
struct Numbers {
    /// Which descriptor here, and its number there.
    given: Vec<(RawFd, RawFd)>,
    /// What keeps a number free for the child, or was made for it.
    held: Vec<Owned>,
}

impl Numbers {
    fn give(&mut self, handle: BorrowedFd<'_>, wanted: Rights) -> SysResult<HandleValue> {
        let own = handle.as_raw_fd();
        let is_given = self.given.iter().any(|(_, number)| *number == own);
        // One of the first three is the child's own stream over there.
        let given = if wanted != rights::SAME || own < FIRST {
            let made = duplicate_here(handle, wanted)?;
            let number = made.as_raw_fd();
            self.held.push(made);
            (number, number)
        } else if !is_given {
            check_open(handle)?;
            (own, own)
        } else {
            check_open(handle)?;
            let place = reserve()?;
            let number = place.as_raw_fd();
            self.held.push(place);
            (own, number)
        };
        self.given.push(given);
        Ok(HandleValue::new(given.1.unsigned_abs().into()).expect("an open descriptor is not negative"))
    }
}

fn arguments(command: &Command<'_>, inherited_handles: &[(String, HandleValue)]) -> Result<Vec<CString>> {
    let first = command.os.first_argument.as_deref().unwrap_or(&command.program);
    let mut texts = vec![text(first, "the program's name")?];
    for argument in &command.arguments {
        texts.push(match argument {
            Argument::Plain(argument) => text(argument, "an argument")?,
            Argument::Template(template) => {
                text(OsStr::new(&filled(template, inherited_handles)?), "an argument")?
            }
            Argument::Os(never) => text(never.as_os_str(), "an argument")?,
        });
    }
    // The most bytes of one argument, with the NUL that ends it, by the kernel.
    let longest = 32 * rustix::param::page_size();
    if let Some(long) = texts.iter().find(|text| text.as_bytes_with_nul().len() > longest) {
        return Err(Error::invalid(
            format!("an argument of {} bytes", long.as_bytes().len()),
            format!("is too long; at most {} fit: pass the rest in a file or a pipe", longest - 1),
        ));
    }
    Ok(texts)
}

/// Where in the variables the child's id has to be written.
type Place = Option<(usize, usize)>;

/// The child's environment.
fn variables(
    command: &Command<'_>,
    inherited_handles: &[(String, HandleValue)],
) -> Result<(Vec<CString>, Place)> {
    let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for change in &command.environment {
        match change {
            Change::Set(name, value) => set(&mut variables, name, value)?,
            Change::Remove(name) => drop(variables.remove(name)),
            Change::Clear => variables.clear(),
        }
    }
    // A manifest of ours says nothing to a child.
    variables.remove(OsStr::new(VARIABLE));
    for (name, template) in &command.environment_handles {
        set(&mut variables, name, OsStr::new(&filled(template, inherited_handles)?))?;
    }
    let mut texts = Vec::with_capacity(variables.len() + 1);
    for (name, value) in variables {
        let mut line = name.into_vec();
        line.push(b'=');
        line.extend(value.into_vec());
        texts.push(text(OsStr::from_bytes(&line), "a variable")?);
    }
    if inherited_handles.is_empty() {
        return Ok((texts, None));
    }
    let manifest = Manifest { meant_for: ID.into(), objects: inherited_handles.to_vec() };
    let line = format!("{VARIABLE}={}", manifest.text()?);
    let from =
        line.find(ID).ok_or_else(|| Error::invalid("the manifest", "has no place for the child's id"))?;
    texts.push(text(OsStr::new(&line), "the manifest")?);
    let place = (texts.len() - 1, from);
    Ok((texts, Some(place)))
}

fn set(variables: &mut BTreeMap<OsString, OsString>, name: &OsStr, value: &OsStr) -> Result<()> {
    let why = match (name.as_bytes(), value.as_bytes()) {
        ([], _) => "has no name",
        (name, _) if name.contains(&b'=') => "has a name with = in it",
        (name, _) if name.contains(&0) => "has a name with NUL in it",
        (_, value) if value.contains(&0) => "has a value with NUL in it",
        _ => {
            variables.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
    };
    Err(Error::invalid(format!("the variable {name:?}"), why))
}

/// A text as the calls take it.
fn text(text: &OsStr, what: &str) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        Error::invalid(format!("{what}, {text:?}"), "contains a NUL, where the child would see its end")
    })
}
