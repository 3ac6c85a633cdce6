//! Starting a child from what a [`Command`] says.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{keeper, left, lookup};
use crate::inherit::{Manifest, VARIABLE};
use crate::os::channel::{Opening, RESERVED};
use crate::process::{Argument, Change, Default, Source, filled};
use crate::sys::handle::{FIRST, check_open, duplicate_here, reserve};
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::spawn::{self as sys, ID, Plan, Refused};
use crate::sys::{process, rights};
use crate::{Channel, Child, Command, Error, HandleValue, Process, Result};

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
    left::forget_the_ended();
    if command.program.is_empty() {
        return Err(Error::invalid("the program's name", "is empty"));
    }
    text(&command.program, "the program's name")?;
    let program = lookup::find(
        &command.program,
        command.path().as_ref().map(Option::as_deref),
        command.directory.is_some(),
    )?;
    check_system()?;
    let held = sys::hold_free_streams()
        .map_err(|source| Error::system("open", "a standard stream that is closed here".into(), source))?;
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
        if held.is_some() && matches!(stream, sys::Stream::Same) {
            *stream = sys::Stream::Nothing;
        }
    }

    let mut numbers = Numbers::default();
    let mut handed_down = Vec::with_capacity(command.inherit.len() + 1);
    for listed in &command.inherit {
        let what = || format!("the object {:?}, which the child is to inherit", listed.name);
        let handle = listed.object.checked(what)?;
        let number = numbers.give(handle, listed.object.rights());
        handed_down
            .push((listed.name.clone(), number.map_err(|source| Error::on_handle("fcntl", what(), source))?));
    }
    let opening = if command.channel { Some(Opening::new()?) } else { None };
    if let Some(opening) = &opening {
        let number = numbers
            .give(opening.theirs(), rights::SAME)
            .map_err(|source| Error::system("fcntl", "the child's end of a channel".into(), source))?;
        handed_down.push((RESERVED[0].to_owned(), number));
    }

    let (variables, id) = variables(command, &handed_down)?;
    let plan = Plan {
        program: text(program.as_os_str(), "the program's name")?,
        arguments: arguments(command, &handed_down)?,
        variables,
        id,
        inherit: numbers.given,
        streams,
        blocked: sys::blocked_signals()
            .map_err(|source| Error::system("rt_sigprocmask", "this thread".into(), source))?,
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
    let started = if command.kill_with_parent { keeper::spawn_kept(plan) } else { sys::spawn(&plan) };
    let started = started.map_err(|Refused { call, source }| {
        let what = match &command.directory {
            None => format!("the program {}", program.display()),
            Some(directory) => format!("the program {} in {}", program.display(), directory.display()),
        };
        // It is known exactly which.
        Error::System { call, what, source }
    })?;
    drop(numbers.held);

    let process = Process::new(started.process, started.id);
    let mut child = Child::new(process, command.kill_on_drop, handed_down);
    child.channel = opening.map(|opening| Channel::new(opening.into_link(child.process().clone())));
    child.stdin = own_input.map(|end| OwnedFd::from(end).into());
    child.stdout = own_output.map(|end| OwnedFd::from(end).into());
    child.stderr = own_error.map(|end| OwnedFd::from(end).into());
    Ok(child)
}

/// What of the system a spawn stands on.
fn check_system() -> Result<()> {
    let failed =
        |call| move |source| Error::system(call, "a spawn, which needs Linux 5.11 or newer".into(), source);
    sys::check_can_close_the_rest().map_err(failed("close_range"))?;
    if process::forgets_children().map_err(failed("rt_sigaction"))? {
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
    fn give(&mut self, handle: BorrowedFd<'_>, wanted: Rights) -> io::Result<HandleValue> {
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
        HandleValue::try_from(u64::from(given.1.unsigned_abs())).map_err(io::Error::other)
    }
}

fn arguments(command: &Command<'_>, handed_down: &[(String, HandleValue)]) -> Result<Vec<CString>> {
    let first = command.os.first_argument.as_deref().unwrap_or(&command.program);
    let mut texts = vec![text(first, "the program's name")?];
    for argument in &command.arguments {
        texts.push(match argument {
            Argument::Plain(argument) => text(argument, "an argument")?,
            Argument::Template(template) => text(OsStr::new(&filled(template, handed_down)?), "an argument")?,
            Argument::Os(never) => text(never.as_os_str(), "an argument")?,
        });
    }
    // The most bytes of one argument, with the NUL that ends it, by the kernel.
    let longest = 32 * rustix::param::page_size();
    if let Some(long) = texts.iter().find(|text| text.as_bytes_with_nul().len() > longest) {
        return Err(Error::invalid(
            format!("an argument of {} bytes", long.as_bytes().len()),
            format!("at most {} fit; pass the rest in a file or a pipe", longest - 1),
        ));
    }
    Ok(texts)
}

/// Where in the variables the child's id has to be written.
type Place = Option<(usize, usize)>;

/// The child's environment.
fn variables(command: &Command<'_>, handed_down: &[(String, HandleValue)]) -> Result<(Vec<CString>, Place)> {
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
        set(&mut variables, name, OsStr::new(&filled(template, handed_down)?))?;
    }
    let mut texts = Vec::with_capacity(variables.len() + 1);
    for (name, value) in variables {
        let mut line = name.into_vec();
        line.push(b'=');
        line.extend(value.into_vec());
        texts.push(text(OsStr::from_bytes(&line), "a variable")?);
    }
    if handed_down.is_empty() {
        return Ok((texts, None));
    }
    let manifest = Manifest { meant_for: ID.into(), objects: handed_down.to_vec() };
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
        Error::invalid(format!("{what}, {text:?}"), "holds a NUL, at which the child would see its end")
    })
}
