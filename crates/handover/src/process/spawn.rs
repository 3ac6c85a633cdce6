//! Starting a child from what a [`Command`] says.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use super::command::{Argument, Change, Command};
use super::environment::{self, Variables};
use super::stdio::{Source, Stream};
use super::{Child, Process, lookup, quote, template};
use crate::inherit::Inheritable;
use crate::sys::process::{self as sys, Plan};
use crate::sys::text::{compare_ignoring_case, wide};
use crate::{Error, HandleValue, Result};

/// Starts a child.
///
/// 1. What needs no handle is checked first: the program, the names.
/// 2. Each stream and each listed object is duplicated, inheritable; the values are what the child will have.
/// 3. With the values known, the command line is written.
/// 4. The process is created with a list of exactly these duplicates, and they are closed.
///
/// Whatever fails, what was made before is closed by its owner on the way out.
pub(super) fn spawn(command: &Command<'_>) -> Result<Child> {
    check_names(command)?;
    let environment = environment(command)?;
    let path = environment.as_ref().and_then(|variables| variables.get(&units(OsStr::new("PATH"))));
    let application = lookup::find(&command.program, path.map(OsString::from_wide).as_deref())?;

    let [input, output, error] = [0, 1, 2].map(|which| {
        let default = &Source::Inherit;
        command.streams[which].as_ref().map_or(default, |stdio| &stdio.0).open(which)
    });
    let mut streams = [input?, output?, error?];
    let mut inheritable = Vec::with_capacity(3 + command.inherit.len());
    let mut stream_values = [None; 3];
    for (value, stream) in stream_values.iter_mut().zip(&mut streams) {
        if let Some(childs) = stream.childs.take() {
            let duplicate = Inheritable::from(childs);
            *value = Some(duplicate.value()?);
            inheritable.push(duplicate);
        }
    }
    let mut handed_down = Vec::with_capacity(command.inherit.len());
    for listed in &command.inherit {
        let duplicate = Inheritable::of(listed)?;
        handed_down.push((listed.name.clone(), duplicate.value()?));
        inheritable.push(duplicate);
    }

    let plan = Plan {
        application: wide(application.as_os_str()),
        command_line: command_line(command, &handed_down)?,
        environment: environment.map(|variables| variables.block()),
        directory: None,
        creation_flags: 0,
        streams: stream_values,
        inherit: inheritable.iter().map(Inheritable::value).collect::<Result<_>>()?,
    };
    let created = sys::create(&plan).map_err(|source| Error::System {
        call: "CreateProcessW",
        what: format!("the program {}", application.display()),
        source,
    })?;
    drop(inheritable);
    drop(created.thread);

    let [stdin, stdout, stderr] = streams.map(|Stream { ours, .. }| ours);
    Ok(Child {
        stdin: stdin.map(ChildStdin::from),
        stdout: stdout.map(ChildStdout::from),
        stderr: stderr.map(ChildStderr::from),
        process: Process::new(created.process, created.id),
        handed_down,
        kill_on_drop: command.kill_on_drop,
    })
}

/// Each name once, and none that a template couldn't say.
fn check_names(command: &Command<'_>) -> Result<()> {
    let mut names: Vec<&str> = command.inherit.iter().map(|listed| listed.name.as_str()).collect();
    names.sort_unstable();
    for name in &names {
        if name.is_empty() || name.contains(['\0', '{', '}']) {
            return Err(Error::invalid(
                format!("the name {name:?} of an object to inherit"),
                "expected a name that isn't empty, without NUL and braces",
            ));
        }
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(
            format!("the name {:?} of an object to inherit", pair[0]),
            "is listed twice; the child couldn't tell the two apart",
        )),
        None => Ok(()),
    }
}

fn command_line(command: &Command<'_>, handed_down: &[(String, HandleValue)]) -> Result<Vec<u16>> {
    let value = |name: &str| handed_down.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
    let mut line = Vec::new();
    let program = checked(&command.program, "the program's name")?;
    quote::push_program(&mut line, &program);
    for argument in &command.arguments {
        let text = match argument {
            Argument::Plain(text) => checked(text, "an argument")?,
            Argument::Template(text) => checked(OsStr::new(&template::fill(text, value)?), "an argument")?,
        };
        quote::push_argument(&mut line, &text);
    }
    line.push(0);
    if line.len() > quote::LONGEST {
        return Err(Error::invalid(
            format!("the command line of {} units", line.len() - 1),
            format!("at most {} fit; pass the rest in a file or a pipe", quote::LONGEST - 1),
        ));
    }
    Ok(line)
}

fn units(text: &OsStr) -> Vec<u16> {
    text.encode_wide().collect()
}

/// The units of a text that will end with NUL, and therefore can't hold one.
fn checked(text: &OsStr, what: &str) -> Result<Vec<u16>> {
    let units = units(text);
    if units.contains(&0) {
        return Err(Error::invalid(
            format!("{what}, {text:?}"),
            "holds a NUL, at which the child would see its end",
        ));
    }
    Ok(units)
}

/// The child's environment, if it isn't just a copy of ours.
fn environment(command: &Command<'_>) -> Result<Option<Variables>> {
    const SYSTEM_ROOT: &str = "SystemRoot";
    if command.environment.is_empty() {
        return Ok(None);
    }
    let mut variables = Variables::new(compare_ignoring_case);
    for (name, value) in std::env::vars_os() {
        variables.set(units(&name), units(&value));
    }
    for change in &command.environment {
        match change {
            Change::Set(name, value) => {
                let (name_units, value_units) = (units(name), units(value));
                if let Some(why) = environment::objection(&name_units, &value_units) {
                    return Err(Error::invalid(format!("the variable {name:?}"), why));
                }
                variables.set(name_units, value_units);
            }
            Change::Remove(name) => variables.remove(&units(name)),
            Change::Clear => {
                variables = Variables::new(compare_ignoring_case);
                if let Some(root) = std::env::var_os(SYSTEM_ROOT) {
                    variables.set(units(OsStr::new(SYSTEM_ROOT)), units(&root));
                }
            }
        }
    }
    Ok(Some(variables))
}
