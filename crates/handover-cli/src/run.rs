//! `handover run`: starts a program that inherits exactly the given objects.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use handover::{
    BorrowedObject, Child, Command, CreateOutcome, Error, Event, ObjectKind, ResetMode, Semaphore,
    SharedMemory, Timer,
};

use crate::exit::{Stop, WithAdvice, code, not_run, remark};
use crate::os::tree::Tree;
use crate::os::{exit_code, split_at_equals};

const EXAMPLES: &str = "\
Examples:
  handover run --event stop --file config=app.toml -- worker {stop} {config}
  handover run --event ready=my-app.ready -- worker {ready}       opens or creates a named event
  handover run --write log=out.txt -- sh -c 'echo hello >&{log}'
  handover run --shared-memory table=65536 --semaphore slots=4 -- worker

In the command's arguments, {NAME} is replaced by the object's handle value in decimal; other braces stay unchanged. A program that uses the handover library takes the objects by name instead. The command inherits these objects and its three standard streams, and no other handle of this program. Each inherited object is printed on standard error.

The exit code is the command's. The command handles the signals of a terminal, such as ^C, itself; this program passes the others on to it (on Linux SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2).";

/// Start a program that inherits exactly the given objects; {NAME} in its arguments becomes a handle value
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// A manual-reset event, which stays set; with =OBJECT, the event of that name, created if it doesn't exist
    #[arg(long, value_name = "NAME[=OBJECT]")]
    event: Vec<String>,
    /// An auto-reset event, which releases one waiter each time it is set; =OBJECT as for --event
    #[arg(long, value_name = "NAME[=OBJECT]")]
    auto_event: Vec<String>,
    /// A semaphore with this initial count
    #[arg(long, value_name = "NAME=COUNT", value_parser = |text: &str| named_number(text, &u32::MAX))]
    semaphore: Vec<(String, u32)>,
    /// Shared memory of this many bytes
    #[arg(long, value_name = "NAME=BYTES", value_parser = |text: &str| named_number(text, &usize::MAX))]
    shared_memory: Vec<(String, usize)>,
    /// A timer that expires once, this many milliseconds after its creation
    #[arg(long, value_name = "NAME=MS", value_parser = |text: &str| named_number(text, &u64::MAX))]
    timer: Vec<(String, u64)>,
    /// A file, opened for reading
    #[arg(long, value_name = "NAME=PATH", value_parser = OsStringValueParser::new().try_map(|text| named_path(&text)))]
    file: Vec<(String, OsString)>,
    /// A file, opened for writing; created if it doesn't exist, emptied if it does
    #[arg(long, value_name = "NAME=PATH", value_parser = OsStringValueParser::new().try_map(|text| named_path(&text)))]
    write: Vec<(String, OsString)>,
    /// A file, opened for appending; created if it doesn't exist
    #[arg(long, value_name = "NAME=PATH", value_parser = OsStringValueParser::new().try_map(|text| named_path(&text)))]
    append: Vec<(String, OsString)>,
    /// Set this event after the command has started
    #[arg(long, value_name = "NAME")]
    set: Vec<String>,
    /// Kill the command, and all processes that it has started, after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Don't print the inherited objects
    #[arg(long, short)]
    quiet: bool,
    /// The command, with its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Parses `NAME=PATH`. The path can be any that the system allows, also one that isn't Unicode.
fn named_path(text: &OsStr) -> Result<(String, OsString), String> {
    let (name, path) = split_at_equals(text).ok_or("expected NAME=VALUE")?;
    let name = name.into_string().map_err(|name| format!("the name {name:?} of an object is not Unicode"))?;
    checked_name(&name)?;
    if path.is_empty() {
        return Err(format!("expected NAME=VALUE; {text:?} has no value"));
    }
    Ok((name, path))
}

/// Parses `NAME=NUMBER`.
fn named_number<T: FromStr + Display>(text: &str, largest: &T) -> Result<(String, T), String> {
    let (name, value) = named_path(text.as_ref())?;
    let number = value.to_str().and_then(|value| value.parse().ok());
    let number =
        number.ok_or_else(|| format!("expected a whole number from 0 to {largest}, but {value:?} came"))?;
    Ok((name, number))
}

/// Checks an object's name. It must not contain braces, because it stands between braces in an argument.
fn checked_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("the name of an object is empty; expected at least 1 character".into()),
        name if name.contains(['{', '}', '=']) => {
            Err(format!("the name {name:?} contains a brace or =; choose a name without them"))
        }
        _ => Ok(()),
    }
}

/// Parses a duration in seconds, such as `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a number of seconds above 0, such as 0.5 or 30".into())
}

/// An object for the command to inherit.
#[derive(Debug)]
enum Object {
    Event(Event),
    Semaphore(Semaphore),
    SharedMemory(SharedMemory),
    Timer(Timer),
    File(File),
}

impl Object {
    fn borrow(&self) -> BorrowedObject<'_> {
        match self {
            Self::Event(event) => event.into(),
            Self::Semaphore(semaphore) => semaphore.into(),
            Self::SharedMemory(memory) => memory.into(),
            Self::Timer(timer) => timer.into(),
            Self::File(file) => file.into(),
        }
    }

    fn kind(&self) -> ObjectKind {
        match self {
            Self::Event(_) => ObjectKind::Event,
            Self::Semaphore(_) => ObjectKind::Semaphore,
            Self::SharedMemory(_) => ObjectKind::SharedMemory,
            Self::Timer(_) => ObjectKind::Timer,
            Self::File(_) => ObjectKind::File,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Stop> {
    let [program, arguments @ ..] = options.command.as_slice() else {
        return Err(Stop::usage("the command is missing"));
    };
    options.check()?;
    let objects = options.objects()?;
    let events = options.events_to_set(&objects);
    let mut command = Command::new(program);
    for (name, object) in &objects {
        command.inherit(name.as_str(), object.borrow());
    }
    for argument in arguments {
        match argument.to_str() {
            Some(text) if text.contains(['{', '}']) => {
                command.arg_handle(template(text, objects.iter().map(|(name, _)| name.as_str())))
            }
            _ => command.arg(argument),
        };
    }
    let tree = Tree::prepare()?;
    let mut child = tree.spawn(&mut command).map_err(|error| not_run(&error))?;
    if !options.quiet {
        for (name, value) in child.inherited_handles() {
            let object = objects.iter().find(|(other, _)| other == name).map(|(_, object)| object);
            let kind = object.map_or_else(|| "an object".into(), |object| object.kind().to_string());
            remark(format_args!(
                "process {} inherits {kind}, {name:?}, as handle value {value} ({value:#x})",
                child.id()
            ));
        }
    }
    drop(command);
    for event in events {
        event.set()?;
    }
    wait(&mut child, options.timeout, tree)
}

fn wait(child: &mut Child, timeout: Option<Duration>, tree: Tree) -> Result<(), Stop> {
    let status = match timeout {
        None => child.wait()?,
        Some(timeout) => match child.wait_timeout(timeout) {
            Ok(status) => status,
            Err(late @ Error::TimedOut { .. }) => {
                child.kill()?;
                child.wait_timeout(Duration::from_secs(10))?;
                tree.end();
                return Err(Stop::with_code(
                    code::TIMED_OUT,
                    format_args!("{late}, so it and the processes that it started were killed"),
                ));
            }
            Err(error) => return Err(error.into()),
        },
    };
    Err(Stop::Exit(exit_code(status)))
}

/// Escapes an argument for [`Command::arg_handle`]: every brace is doubled, except around the names of objects.
fn template<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut template = text.replace('{', "{{").replace('}', "}}");
    for name in names {
        template = template.replace(&format!("{{{{{name}}}}}"), &format!("{{{name}}}"));
    }
    template
}

impl Options {
    /// Checks the options before any object is created and before any file is emptied.
    fn check(&self) -> Result<(), Stop> {
        let name_of = |text: &String| text.split_once('=').map_or(text.clone(), |(name, _)| name.to_owned());
        let events: Vec<String> = self.event.iter().chain(&self.auto_event).map(name_of).collect();
        let mut names = events.clone();
        names.extend(self.semaphore.iter().map(|(name, _)| name.clone()));
        names.extend(self.shared_memory.iter().map(|(name, _)| name.clone()));
        names.extend(self.timer.iter().map(|(name, _)| name.clone()));
        for files in [&self.file, &self.write, &self.append] {
            names.extend(files.iter().map(|(name, _)| name.clone()));
        }
        for (index, name) in names.iter().enumerate() {
            checked_name(name).map_err(Stop::usage)?;
            if names[..index].contains(name) {
                return Err(Stop::usage(format_args!(
                    "two objects are named {name:?}; give each object its own name"
                )));
            }
        }
        for wanted in &self.set {
            if !names.contains(wanted) {
                return Err(Stop::usage(format_args!(
                    "--set {wanted}: no object is named {wanted:?}; add one with --event {wanted}"
                )));
            }
            if !events.contains(wanted) {
                return Err(Stop::usage(format_args!(
                    "--set {wanted}: the object {wanted:?} is not an event, and only events can be set"
                )));
            }
        }
        Ok(())
    }

    /// Creates the objects that the command inherits.
    fn objects(&self) -> Result<Vec<(String, Object)>, Stop> {
        let mut objects: Vec<(String, Object)> = Vec::new();
        let failed = |name: &str| {
            let name = name.to_owned();
            move |error: Error| {
                Stop::with_code(
                    code::SETUP_FAILED,
                    format_args!("cannot create the object {name:?}: {}", WithAdvice(&error)),
                )
            }
        };
        for (texts, reset) in [(&self.event, ResetMode::Manual), (&self.auto_event, ResetMode::Auto)] {
            for text in texts {
                let (name, object) =
                    text.split_once('=').map_or((text.as_str(), None), |(name, object)| (name, Some(object)));
                let event = event(object, reset).map_err(failed(name))?;
                objects.push((name.to_owned(), Object::Event(event)));
            }
        }
        for (name, count) in &self.semaphore {
            let semaphore = Semaphore::new(*count).map_err(failed(name))?;
            objects.push((name.clone(), Object::Semaphore(semaphore)));
        }
        for (name, size) in &self.shared_memory {
            objects
                .push((name.clone(), Object::SharedMemory(SharedMemory::new(*size).map_err(failed(name))?)));
        }
        for (name, milliseconds) in &self.timer {
            let timer = Timer::manual_reset().map_err(failed(name))?;
            timer.set_once(Duration::from_millis(*milliseconds)).map_err(failed(name))?;
            objects.push((name.clone(), Object::Timer(timer)));
        }
        for (files, open_options) in [
            (&self.file, OpenOptions::new().read(true)),
            (&self.append, OpenOptions::new().append(true).create(true)),
            // These files are last, so that no file is emptied if another object can't be created.
            (&self.write, OpenOptions::new().write(true).create(true).truncate(true)),
        ] {
            for (name, path) in files {
                objects.push((name.clone(), Object::File(open(open_options, name, path)?)));
            }
        }
        Ok(objects)
    }

    fn events_to_set<'a>(&self, objects: &'a [(String, Object)]) -> Vec<&'a Event> {
        let wanted = |name: &str| self.set.iter().any(|wanted| wanted == name);
        let event = |(name, object): &'a (String, Object)| match object {
            Object::Event(event) if wanted(name) => Some(event),
            _ => None,
        };
        objects.iter().filter_map(event).collect()
    }
}

fn event(object: Option<&str>, reset: ResetMode) -> handover::Result<Event> {
    let Some(object) = object else {
        return match reset {
            ResetMode::Manual => Event::manual_reset(),
            ResetMode::Auto => Event::auto_reset(),
        };
    };
    let (event, outcome) = Event::create_or_open_named(object, reset)?;
    if outcome == CreateOutcome::Opened {
        remark(format_args!(
            "the event {object:?} already existed, so it keeps the reset mode of its creator"
        ));
    }
    Ok(event)
}

fn open(open_options: &OpenOptions, name: &str, path: &OsStr) -> Result<File, Stop> {
    // Opening a FIFO blocks until another process opens its other side, which may never happen.
    if crate::os::is_fifo(Path::new(path)) {
        let message = format_args!(
            "cannot open a file for the object {name:?}: {path:?} is a FIFO, which may block; pass its path to the \
             command instead"
        );
        return Err(Stop::with_code(code::SETUP_FAILED, message));
    }
    open_options.open(path).map_err(|error| {
        let message = format_args!("cannot open the file {path:?} for the object {name:?}: {error}");
        Stop::with_code(code::SETUP_FAILED, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_objects_are_left_as_placeholders() {
        for (text, expected) in [
            ("{ready}", "{ready}"),
            ("--event={ready}", "--event={ready}"),
            ("{print $1}", "{{print $1}}"),
            ("{}", "{{}}"),
            ("{{ready}}", "{{{ready}}}"),
            ("a}b{c", "a}}b{{c"),
            ("{ready}{stop}", "{ready}{stop}"),
        ] {
            assert_eq!(template(text, ["ready", "stop"].into_iter()), expected, "{text}");
        }
    }
}
