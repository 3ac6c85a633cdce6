//! Starts a child from a [`Command`].

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::stdio::Opened;
use super::{pdeathsig_thread, reaper, resolve_program};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{Manifest, VARIABLE};
use crate::process::command::Command;
use crate::process::{Argument, Attachment, Change, Default, Source, filled};
use crate::process::{Child, Process};
use crate::sys::exec::exec as sys_exec;
use crate::sys::handle::{FIRST, NullAccess, check_open, duplicate_here, open_null};
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::spawn::{self as sys, NotStarted};
use crate::sys::spawn_plan::{EXECUTE, ID, Plan};
use crate::sys::{SysResult, process, rights};

/// Starts a child that runs at once.
pub(crate) fn spawn(command: &Command<'_>, default: Default) -> Result<Child> {
    reaper::reap_exited();
    check_children_are_kept()?;
    let Prepared { plan, programs, listed, attachments, ours, opened } = prepare(command, default)?;
    let started = if command.kill_with_parent {
        pdeathsig_thread::spawn_with_pdeathsig(plan)
    } else {
        sys::spawn(&plan)
    };
    let started = started.map_err(|error| not_started(command, &programs, error))?;
    drop(opened);

    let process = Process::new(started.process, started.id);
    let mut child = Child::new(process, command.kill_on_drop, listed);
    for attachment in attachments {
        child.set_attached(attachment.attach(child.process()));
    }
    let [stdin, stdout, stderr] = ours.map(|ours| ours.map(OwnedFd::from));
    child.stdin = stdin.map(Into::into);
    child.stdout = stdout.map(Into::into);
    child.stderr = stderr.map(Into::into);
    Ok(child)
}

/// Starts a child and waits until it exits, without a timeout.
pub(crate) fn run_to_exit(command: &Command<'_>) -> Result<ExitStatus> {
    let error = match spawn(command, Default::Inherit) {
        Ok(mut child) => return child.wait(),
        Err(error) => error,
    };
    // A `Child` needs a descriptor for its process. If none is free, the exit can still be waited for by the id.
    if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) || command.kill_with_parent {
        return Err(error);
    }
    let Prepared { plan, programs, opened, .. } = prepare(command, Default::Inherit)?;
    let status = sys::run_to_exit(&plan).map_err(|error| not_started(command, &programs, error));
    drop(opened);
    status
}

/// Executes the program in place of this process's. It returns only if that fails.
pub(super) fn exec(command: &Command<'_>) -> Error {
    if !command.attachments.is_empty() {
        return Error::invalid(
            "a channel",
            "can't be passed to a program that replaces this one, because its peer is the process that starts a child; \
             start the program with spawn",
        );
    }
    match prepare(command, Default::Inherit) {
        Err(error) => error,
        // Everything that was opened is closed when this returns, or by the kernel if the program is executed.
        Ok(Prepared { plan, programs, ours: _ours, opened: _opened, .. }) => {
            not_started(command, &programs, sys_exec(&plan))
        }
    }
}

/// The plan for a child, and what has been opened for it.
struct Prepared {
    plan: Plan,
    /// The program's file, or the files in which to look for it.
    programs: Vec<PathBuf>,
    /// The names of the listed objects, and their handle values in the child.
    listed: Vec<(String, HandleValue)>,
    attachments: Vec<Box<dyn Attachment>>,
    /// This process's ends of the piped streams.
    ours: [Option<Owned>; 3],
    /// The descriptors that are only for the child, to be closed once it has started.
    opened: Vec<Owned>,
}

/// Takes the steps before the process is created.
///
/// 1. Checks everything that needs no descriptor, and finds the program.
/// 2. Chooses the number that the child will have for each listed object: the same number as in this process, or, if
///    the child can't have that, a number that is reserved for it.
/// 3. Writes the arguments and the environment variables, which can contain the numbers.
///
/// In the new process alone, all descriptors are then marked close-on-exec, the listed ones are made inheritable, and
/// the program is executed. Neither a listed object nor a stream is duplicated in this process where that can be
/// avoided, because closing a duplicate releases this process's record locks on the file (`fcntl(2)`). Nothing depends
/// on which of the descriptors 0 to 2 are open in this process, because other threads may open and close them.
fn prepare(command: &Command<'_>, default: Default) -> Result<Prepared> {
    if command.program.is_empty() {
        return Err(Error::invalid("the program's name", "is empty; give a name or a path"));
    }
    text(&command.program, "the program's name")?;
    let programs = resolve_program::find(
        &command.program,
        command.path().as_ref().map(Option::as_deref),
        // The thread that starts such a child may have another current directory than this one.
        command.directory.is_some() || command.kill_with_parent,
    )?;
    let [stdin, stdout, stderr] = [0, 1, 2].map(|which| {
        let default = match (default, which) {
            (Default::Inherit, _) => &Source::Inherit,
            (Default::Collect, 0) => &Source::Null,
            (Default::Collect, _) => &Source::Piped,
        };
        command.streams[which].as_ref().map_or(default, |stdio| &stdio.0).open(which)
    });
    let opened_streams = [stdin?, stdout?, stderr?];
    let streams = opened_streams.each_ref().map(|opened| opened.stream);
    let mut numbers = Numbers::default();
    let ours = opened_streams.map(|Opened { theirs, ours, .. }| {
        numbers.opened.extend(theirs);
        ours
    });

    let mut listed_handles = Vec::with_capacity(command.inherit.len() + 1);
    for listed in &command.inherit {
        let context = || format!("the listed object {:?}", listed.name);
        let handle = listed.object().checked(context)?;
        let number = numbers.give(handle, listed.object().rights());
        listed_handles
            .push((listed.name.clone(), number.map_err(|error| Error::on_handle(context(), error))?));
    }
    let attachments =
        command.attachments.iter().map(|attachment| attachment.open()).collect::<Result<Vec<_>>>()?;
    for (name, object) in attachments.iter().flat_map(|attachment| attachment.handles()) {
        let context = || "the child's endpoint of a channel".to_owned();
        let number = numbers.give(object.checked(context)?, object.rights());
        listed_handles.push((name, number.map_err(|error| Error::system(context(), error))?));
    }

    let (variables, id) = variables(command, &listed_handles)?;
    let plan = Plan {
        programs: programs
            .iter()
            .map(|program| text(program.as_os_str(), "the program's name"))
            .collect::<Result<_>>()?,
        arguments: arguments(command, &listed_handles)?,
        variables,
        id,
        inherit: numbers.given,
        streams,
        blocked: sys::blocked_signals().map_err(|error| Error::system("this thread", error))?,
        directory: match &command.directory {
            // The program's path is absolute by now, so the child's directory doesn't affect it.
            Some(directory) => Some(text(directory.as_os_str(), "the current directory")?),
            None => None,
        },
        user: command.os.user,
        group: command.os.group,
        process_group: command.os.process_group,
        closures: command.os.closures.clone(),
        ends_with: None,
        tracer: command.os.tracer,
    };
    Ok(Prepared { plan, programs, listed: listed_handles, attachments, ours, opened: numbers.opened })
}

/// Returns the error of a program that could not be started.
fn not_started(command: &Command<'_>, programs: &[PathBuf], error: NotStarted) -> Error {
    let NotStarted { error, program: index } = error;
    if error.call == EXECUTE {
        if let Some(error) = resolve_program::reason(&command.program, programs, index, &error) {
            return error;
        }
    }
    let program = match programs {
        [program] => program.as_path(),
        _ => Path::new(&command.program),
    };
    let context = match &command.directory {
        None => format!("the program {program:?}"),
        Some(directory) => format!("the program {program:?} with the current directory {directory:?}"),
    };
    Error::system(context, error)
}

/// Checks that the kernel keeps the exit status of this process's children.
fn check_children_are_kept() -> Result<()> {
    if process::forgets_children().map_err(|error| Error::system("starting a child", error))? {
        return Err(Error::invalid(
            "the signal SIGCHLD",
            "is ignored in this process, so the kernel discards a child's exit status; set it to SIG_DFL",
        ));
    }
    Ok(())
}

/// The descriptor numbers that the child will have for the listed objects.
#[derive(Debug, Default)]
struct Numbers {
    /// Each descriptor's number in this process and in the child.
    given: Vec<(RawFd, RawFd)>,
    /// Descriptors that reserve a number for the child, or were opened for it.
    opened: Vec<Owned>,
}

impl Numbers {
    /// Chooses the child's number for a descriptor.
    fn give(&mut self, handle: BorrowedFd<'_>, wanted: Rights) -> SysResult<HandleValue> {
        let own = handle.as_raw_fd();
        let is_given = self.given.iter().any(|(_, number)| *number == own);
        let given = if wanted != rights::SAME {
            let made = duplicate_here(handle, wanted)?;
            let number = made.as_raw_fd();
            self.opened.push(made);
            (number, number)
        } else {
            check_open(handle)?;
            // The child uses the numbers below `FIRST` for its own standard streams.
            if is_given || own < FIRST {
                let placeholder = open_null(NullAccess::Read)?;
                let number = placeholder.as_raw_fd();
                self.opened.push(placeholder);
                (own, number)
            } else {
                (own, own)
            }
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
                text(OsStr::new(&filled(template, inherited_handles, |_| None)?), "an argument")?
            }
            Argument::Os(never) => text(never.as_os_str(), "an argument")?,
        });
    }
    // The kernel's limit for one argument, including the NUL (MAX_ARG_STRLEN).
    let longest = 32 * rustix::param::page_size();
    if let Some(long) = texts.iter().find(|text| text.as_bytes_with_nul().len() > longest) {
        return Err(Error::invalid(
            format!("an argument of {} bytes", long.as_bytes().len()),
            format!("is too long; at most {} bytes fit, so pass the rest in a file or a pipe", longest - 1),
        ));
    }
    Ok(texts)
}

/// Where the new process writes its id: the index of the variable, and the byte offset in it.
type IdPosition = Option<(usize, usize)>;

/// Returns the child's environment variables, and the position of its id in them if it gets a manifest.
fn variables(
    command: &Command<'_>,
    inherited_handles: &[(String, HandleValue)],
) -> Result<(Vec<CString>, IdPosition)> {
    let mut variables: BTreeMap<OsString, OsString> = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        // Of several variables with one name, `getenv` finds the first.
        variables.entry(name).or_insert(value);
    }
    for change in &command.environment {
        match change {
            Change::Set(name, value) => set(&mut variables, name, value)?,
            Change::Remove(name) => drop(variables.remove(name)),
            Change::Clear => variables.clear(),
        }
    }
    // A manifest that this process got from its own parent isn't meant for the child.
    variables.remove(OsStr::new(VARIABLE));
    for (name, template) in &command.environment_handles {
        set(&mut variables, name, OsStr::new(&filled(template, inherited_handles, |_| None)?))?;
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
    let offset = line.find(ID).ok_or_else(|| {
        Error::invalid("the list of inherited objects", "can't be written, which is a fault of handover")
    })?;
    texts.push(text(OsStr::new(&line), "the manifest")?);
    let position = (texts.len() - 1, offset);
    Ok((texts, Some(position)))
}

fn set(variables: &mut BTreeMap<OsString, OsString>, name: &OsStr, value: &OsStr) -> Result<()> {
    let reason = match (name.as_bytes(), value.as_bytes()) {
        ([], _) => "has no name",
        (name, _) if name.contains(&b'=') => "has a name that contains =",
        (name, _) if name.contains(&0) => "has a name that contains a NUL",
        (_, value) if value.contains(&0) => "has a value that contains a NUL",
        _ => {
            variables.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
    };
    Err(Error::invalid(format!("the environment variable {name:?}"), reason))
}

/// Converts a text for a system call; `description` names it in the error.
fn text(text: &OsStr, description: &str) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        Error::invalid(
            format!("{description}, {text:?},"),
            "contains a NUL, at which the child would cut it off",
        )
    })
}
