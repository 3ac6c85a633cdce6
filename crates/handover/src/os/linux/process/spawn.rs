//! Starting a child from what a [`Command`] says.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;

use super::{keeper, left, lookup};
use crate::inherit::{Manifest, VARIABLE};
use crate::os::channel::{Opening, RESERVED};
use crate::process::{Argument, Change, Default, Source, filled};
use crate::sys::handle::duplicate_here;
use crate::sys::spawn::{self as sys, ID, Plan};
use crate::sys::{process, rights};
use crate::{Channel, Child, Command, Error, HandleValue, Process, Result};

/// Starts a child that runs.
///
/// 1. What needs no descriptor is checked first, and the program is found.
/// 2. Each listed object is duplicated; the number is what the child will have. The duplicate has the flag that keeps it
///    from programs that are started, so no other child can get it.
/// 3. With the numbers known, the arguments and the variables are written.
/// 4. The process is forked. In it alone, the flag is set on everything and taken off these duplicates, and the program
///    is started.
///
/// Whatever fails, what was made before is closed by its owner on the way out.
pub(crate) fn spawn(command: &Command<'_>, default: Default) -> Result<Child> {
    left::forget_the_ended();
    if command.program.is_empty() {
        return Err(Error::invalid("the program's name", "is empty"));
    }
    text(&command.program, "the program's name")?;
    let program = lookup::find(&command.program, command.path().as_deref())?;
    let mut builder = std::process::Command::new(&program);
    let [input, output, error] = [0, 1, 2].map(|which| {
        let default = match (default, which) {
            (Default::Inherit, _) => &Source::Inherit,
            (Default::Collect, 0) => &Source::Null,
            (Default::Collect, _) => &Source::Piped,
        };
        command.streams[which].as_ref().map_or(default, |stdio| &stdio.0).open(which)
    });
    builder.stdin(input?).stdout(output?).stderr(error?);

    let mut duplicates: Vec<OwnedFd> = Vec::with_capacity(command.inherit.len() + 1);
    let mut handed_down = Vec::with_capacity(command.inherit.len() + 1);
    for listed in &command.inherit {
        let what = || format!("the object {:?}, which the child is to inherit", listed.name);
        let handle = listed.object.checked(what)?;
        let duplicate = duplicate_here(handle, listed.object.rights())
            .map_err(|source| Error::on_handle("fcntl", what(), source))?;
        handed_down.push((listed.name.clone(), HandleValue::of(&duplicate)?));
        duplicates.push(duplicate);
    }
    let opening = if command.channel { Some(Opening::new()?) } else { None };
    if let Some(opening) = &opening {
        let duplicate = duplicate_here(opening.theirs(), rights::SAME).map_err(|source| Error::System {
            call: "fcntl",
            what: "the child's end of a channel".into(),
            source,
        })?;
        handed_down.push((RESERVED[0].to_owned(), HandleValue::of(&duplicate)?));
        duplicates.push(duplicate);
    }

    let (variables, id) = variables(command, &handed_down)?;
    let plan = Plan {
        program: text(program.as_os_str(), "the program's name")?,
        arguments: arguments(command, &handed_down)?,
        variables,
        id,
        inherit: duplicates.iter().map(AsRawFd::as_raw_fd).collect(),
        ends_with: None,
    };
    if let Some(directory) = &command.directory {
        // The program's path was made absolute, so this doesn't change where it is looked for.
        text(directory.as_os_str(), "the current directory")?;
        builder.current_dir(directory);
    }
    if let Some(user) = command.os.user {
        builder.uid(user);
    }
    if let Some(group) = command.os.group {
        builder.gid(group);
    }
    if let Some(group) = command.os.process_group {
        builder.process_group(group);
    }
    let failed = |call| {
        let what = match &command.directory {
            None => format!("the program {}", program.display()),
            Some(directory) => format!("the program {} in {}", program.display(), directory.display()),
        };
        move |source| Error::System { call, what, source }
    };
    let started =
        if command.kill_with_parent { keeper::spawn_kept(builder, plan) } else { sys::spawn(builder, plan) };
    let mut started = started.map_err(failed("execve"))?;
    drop(duplicates);

    let handle = process::open(started.id()).map_err(|source| {
        // It is ours and nobody has waited for it, so the number is its own still.
        let _ = started.kill();
        let _ = started.wait();
        failed("pidfd_open")(source)
    })?;
    let mut child = Child::new(Process::new(handle, started.id()), command.kill_on_drop, handed_down);
    child.channel = opening.map(|opening| Channel::new(opening.into_link(child.process().clone())));
    child.stdin = started.stdin.take();
    child.stdout = started.stdout.take();
    child.stderr = started.stderr.take();
    Ok(child)
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
    /// The most bytes of one argument or variable, with the NUL that ends it, by the kernel.
    const LONGEST: usize = 128 * 1024;
    if let Some(long) = texts.iter().find(|text| text.as_bytes_with_nul().len() > LONGEST) {
        return Err(Error::invalid(
            format!("an argument of {} bytes", long.as_bytes().len()),
            format!("at most {} fit; pass the rest in a file or a pipe", LONGEST - 1),
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
