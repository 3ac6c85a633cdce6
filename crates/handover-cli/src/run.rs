//! `handover run`: starts a program with exactly these objects.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use handover::{
    BorrowedObject, Child, Command, CreateOutcome, Error, Event, ObjectKind, ResetMode, Semaphore,
    SharedMemory, Timer,
};

use crate::exit::{Explained, Stop, code, remark};
use crate::os::exit_code;

const EXAMPLES: &str = "\
Examples:
  handover run --event stop --file config=app.toml -- worker {stop} {config}
  handover run --event ready=my-app.ready -- worker {ready}       the event of that name
  handover run --write log=out.txt -- sh -c 'echo hello >&{log}'
  handover run --shared-memory table=65536 --semaphore slots=4 -- worker

In the command's arguments {NAME} becomes the object's number in decimal; other braces stay as they are. A program that uses the library takes the objects by name. The command gets these objects and its three standard streams, and nothing else that this program happens to have. What was given is said on standard error.

The exit code is the command's. If this program is ended by a signal, the command runs on.";

/// Start a program with these objects and nothing else, their numbers filled in for {NAME}
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// An event that stays set; with =OBJECT the one that has this name, made if there is none
    #[arg(long, value_name = "NAME[=OBJECT]")]
    event: Vec<String>,
    /// An event that lets one waiter go each time
    #[arg(long, value_name = "NAME[=OBJECT]")]
    auto_event: Vec<String>,
    /// A semaphore with this count
    #[arg(long, value_name = "NAME=COUNT", value_parser = named::<u32>)]
    semaphore: Vec<(String, u32)>,
    /// Shared memory of so many bytes
    #[arg(long, value_name = "NAME=BYTES", value_parser = named::<usize>)]
    shared_memory: Vec<(String, usize)>,
    /// A timer that goes off once, so many milliseconds after it was made
    #[arg(long, value_name = "NAME=MS", value_parser = named::<u64>)]
    timer: Vec<(String, u64)>,
    /// A file to read
    #[arg(long, value_name = "NAME=PATH", value_parser = named::<OsString>)]
    file: Vec<(String, OsString)>,
    /// A file to write, made or emptied
    #[arg(long, value_name = "NAME=PATH", value_parser = named::<OsString>)]
    write: Vec<(String, OsString)>,
    /// A file to write at its end, made if there is none
    #[arg(long, value_name = "NAME=PATH", value_parser = named::<OsString>)]
    append: Vec<(String, OsString)>,
    /// Set this event once the command runs
    #[arg(long, value_name = "NAME")]
    set: Vec<String>,
    /// End the command after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Say nothing of what was given
    #[arg(long, short)]
    quiet: bool,
    /// The command, with its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A name, and what belongs to it.
fn named<T: std::str::FromStr>(text: &str) -> Result<(String, T), String>
where
    T::Err: std::fmt::Display,
{
    let (name, rest) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    checked_name(name)?;
    if rest.is_empty() {
        return Err(format!("expected NAME=VALUE; {text:?} has no value"));
    }
    let value = rest.parse().map_err(|error| format!("{rest:?}: {error}"))?;
    Ok((name.to_owned(), value))
}

/// What stands between braces can't hold any.
fn checked_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("the name is empty".into()),
        name if name.contains(['{', '}', '=']) => Err(format!("the name {name:?} holds a brace or =")),
        _ => Ok(()),
    }
}

/// A time in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected a number of seconds, not negative".into())
}

/// Something to give.
#[derive(Debug)]
enum Object {
    Event(Event),
    Semaphore(Semaphore),
    SharedMemory(SharedMemory),
    Timer(Timer),
    File(File),
}

impl Object {
    fn share(&self) -> BorrowedObject<'_> {
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
        return Err(Stop::usage("there is no command"));
    };
    options.check()?;
    let objects = options.objects()?;
    let events = options.events_to_set(&objects);
    let mut command = Command::new(program);
    for (name, object) in &objects {
        command.inherit(name.as_str(), object.share());
    }
    for argument in arguments {
        match argument.to_str() {
            Some(text) if text.contains(['{', '}']) => {
                command.arg_handle(template(text, objects.iter().map(|(name, _)| name.as_str())))
            }
            _ => command.arg(argument),
        };
    }
    let mut child = command.spawn().map_err(|error| not_started(&error))?;
    if !options.quiet {
        for (name, value) in child.inherited_handles() {
            let object = objects.iter().find(|(other, _)| other == name).map(|(_, object)| object);
            let kind = object.map_or_else(|| "an object".into(), |object| object.kind().to_string());
            remark(format_args!(
                "process {} has {kind}, {name:?}, as handle {value:#x} ({value})",
                child.id()
            ));
        }
    }
    drop(command);
    for event in events {
        event.set()?;
    }
    wait(&mut child, options.timeout)
}

fn wait(child: &mut Child, timeout: Option<Duration>) -> Result<(), Stop> {
    let status = match timeout {
        None => child.wait()?,
        Some(time) => match child.wait_timeout(time) {
            Ok(status) => status,
            Err(Error::TimedOut { .. }) => {
                child.kill()?;
                child.wait_timeout(Duration::from_secs(10))?;
                return Err(Stop::with_code(
                    code::LATE,
                    format_args!("process {} didn't end within {time:?} and was ended", child.id()),
                ));
            }
            Err(error) => return Err(error.into()),
        },
    };
    Err(Stop::With(exit_code(status)))
}

/// Why a command wasn't started, with the codes that are usual for it.
pub(crate) fn not_started(error: &Error) -> Stop {
    let code = match error {
        Error::ProgramNotFound { .. } => code::NOT_FOUND,
        Error::System { source, .. } if source.kind() == std::io::ErrorKind::NotFound => code::NOT_FOUND,
        Error::InvalidInput { .. } => code::NOT_BEGUN,
        _ => code::NOT_STARTED,
    };
    Stop::with_code(code, Explained(error))
}

/// An argument in which only the names of what is given stand in braces, as the library takes it.
fn template<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut template = text.replace('{', "{{").replace('}', "}}");
    for name in names {
        template = template.replace(&format!("{{{{{name}}}}}"), &format!("{{{name}}}"));
    }
    template
}

impl Options {
    /// Finds what is wrong with the words alone, before anything is made or emptied.
    fn check(&self) -> Result<(), Stop> {
        let bare = |text: &String| text.split_once('=').map_or(text.clone(), |(name, _)| name.to_owned());
        let events: Vec<String> = self.event.iter().chain(&self.auto_event).map(bare).collect();
        let mut names = events.clone();
        names.extend(self.semaphore.iter().map(|(name, _)| name.clone()));
        names.extend(self.shared_memory.iter().map(|(name, _)| name.clone()));
        names.extend(self.timer.iter().map(|(name, _)| name.clone()));
        for files in [&self.file, &self.write, &self.append] {
            names.extend(files.iter().map(|(name, _)| name.clone()));
        }
        for (place, name) in names.iter().enumerate() {
            checked_name(name).map_err(Stop::usage)?;
            if names[..place].contains(name) {
                return Err(Stop::usage(format_args!("two objects have the name {name:?}")));
            }
        }
        for wanted in &self.set {
            if !names.contains(wanted) {
                return Err(Stop::usage(format_args!("--set {wanted}: nothing of this name is given")));
            }
            if !events.contains(wanted) {
                return Err(Stop::usage(format_args!("--set {wanted}: it is no event")));
            }
        }
        Ok(())
    }

    /// Makes what is to be given.
    fn objects(&self) -> Result<Vec<(String, Object)>, Stop> {
        let mut objects: Vec<(String, Object)> = Vec::new();
        let failed = |name: &str| {
            let name = name.to_owned();
            move |error: Error| {
                Stop::with_code(code::NOT_BEGUN, format_args!("the object {name:?}: {}", Explained(&error)))
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
        for (files, how) in [
            (&self.file, OpenOptions::new().read(true)),
            (&self.append, OpenOptions::new().append(true).create(true)),
            // Last: nothing is emptied for want of something else.
            (&self.write, OpenOptions::new().write(true).create(true).truncate(true)),
        ] {
            for (name, path) in files {
                objects.push((name.clone(), Object::File(open(how, name, path)?)));
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
    let (event, found) = Event::create_or_open_named(object, reset)?;
    if found == CreateOutcome::Opened {
        remark(format_args!("the event {object:?} was there; how it is reset is as its maker has said"));
    }
    Ok(event)
}

fn open(how: &OpenOptions, name: &str, path: &OsStr) -> Result<File, Stop> {
    // A FIFO opens when somebody opens its other side, which may be never.
    if crate::os::is_fifo(Path::new(path)) {
        let path = Path::new(path).display();
        let why =
            format_args!("the object {name:?}: the file {path} is a FIFO; give the command its path instead");
        return Err(Stop::with_code(code::NOT_BEGUN, why));
    }
    how.open(path).map_err(|error| {
        let path = Path::new(path).display();
        Stop::with_code(code::NOT_BEGUN, format_args!("the object {name:?}: the file {path}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_given_become_numbers() {
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
