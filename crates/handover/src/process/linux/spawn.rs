//! Starts a child from a [`Command`].

use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use super::{pdeathsig_thread, reaper, resolve_program};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{VARIABLE, manifest_text};
use crate::process::command::Command;
use crate::process::{Argument, Attachment, Change, CommandEnvs, Default, Source, filled};
use crate::process::{Child, Process};
use crate::sys::exec::exec as sys_exec;
use crate::sys::handle::{FIRST, NullAccess, check_open, duplicate_here, open_null};
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::spawn::{self as sys, NotStarted};
use crate::sys::spawn_plan::{EXECUTE, ID, IdLine, Plan, Texts};
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
    listed: Vec<(Arc<str>, HandleValue)>,
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
    let open = |which: usize| {
        let default = match (default, which) {
            (Default::Inherit, _) => &Source::Inherit,
            (Default::Collect, 0) => &Source::Null,
            (Default::Collect, _) => &Source::Piped,
        };
        command.streams[which].as_ref().map_or(default, |stdio| &stdio.0).open(which)
    };
    let (stdin, stdout, stderr) = (open(0)?, open(1)?, open(2)?);
    let streams = [stdin.stream, stdout.stream, stderr.stream];
    let ours = [stdin.ours, stdout.ours, stderr.ours];
    let mut numbers = Numbers { given: Vec::with_capacity(command.inherit.len() + 1), ..Numbers::default() };
    for theirs in [stdin.theirs, stdout.theirs, stderr.theirs] {
        numbers.opened.extend(theirs);
    }

    let mut listed_handles = Vec::with_capacity(command.inherit.len() + 1);
    for listed in &command.inherit {
        let context = || format!("the listed object {:?}", listed.name);
        let handle = listed.object().checked(&context)?;
        let number = numbers.give(handle, listed.object().rights());
        listed_handles
            .push((listed.name.clone(), number.map_err(|error| Error::on_handle(context(), error))?));
    }
    let mut attachments = Vec::with_capacity(command.attachments.len());
    for attachment in &command.attachments {
        attachments.push(attachment.open()?);
    }
    for (name, object) in attachments.iter().flat_map(|attachment| attachment.handles()) {
        let context = || "the child's endpoint of a channel".to_owned();
        let number = numbers.give(object.checked(&context)?, object.rights());
        listed_handles.push((name.into(), number.map_err(|error| Error::system(context(), error))?));
    }

    let mut program_paths = Vec::with_capacity(programs.len());
    for program in &programs {
        program_paths.push(text(program.as_os_str(), "the program's name")?);
    }
    let plan = Plan {
        programs: program_paths,
        arguments: arguments(command, &listed_handles)?,
        variables: variables(command, &listed_handles)?,
        id: manifest(&listed_handles)?,
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
    /// The highest number that was given. Descriptors are mostly listed in ascending order, and then no earlier one has to
    /// be looked for.
    highest: RawFd,
    /// Descriptors that reserve a number for the child, or were opened for it.
    opened: Vec<Owned>,
}

impl Numbers {
    /// Chooses the child's number for a descriptor.
    fn give(&mut self, handle: BorrowedFd<'_>, wanted: Rights) -> SysResult<HandleValue> {
        let own = handle.as_raw_fd();
        let is_given = own <= self.highest && self.given.iter().any(|(_, number)| *number == own);
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
        self.highest = self.highest.max(given.1);
        self.given.push(given);
        Ok(HandleValue::new(given.1.unsigned_abs().into()).expect("an open descriptor is not negative"))
    }
}

fn arguments(command: &Command<'_>, inherited_handles: &[(Arc<str>, HandleValue)]) -> Result<Vec<CString>> {
    let first = command.os.first_argument.as_deref().unwrap_or(&command.program);
    let mut texts = vec![text(first, "the program's name")?];
    for argument in &command.arguments {
        texts.push(match argument {
            Argument::Plain(argument) => text(argument, "an argument")?,
            Argument::Template(template) => {
                text(OsStr::new(&filled(template, inherited_handles, &|_| None)?), "an argument")?
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

/// Returns the child's environment variables without the manifest: those of this process that stay, in their order, and
/// then the changed ones.
fn variables(command: &Command<'_>, inherited_handles: &[(Arc<str>, HandleValue)]) -> Result<Texts> {
    let changes = command.environment.iter().filter_map(Change::parts);
    changes.filter_map(|(name, value)| Some((name, value?))).try_for_each(check_variable)?;
    let mut changed: Vec<(&OsStr, Option<Cow<'_, OsStr>>)> = CommandEnvs::new(&command.environment)
        .map(|(name, value)| (name, value.map(Cow::Borrowed)))
        .collect();
    for (name, template) in &command.environment_handles {
        let value = filled(template, inherited_handles, &|_| None)?;
        check_variable((name, OsStr::new(&value)))?;
        changed.retain(|(other, _)| other != name);
        changed.push((name, Some(Cow::Owned(value.into()))));
    }

    // A manifest that this process got from its own parent isn't meant for the child.
    changed.retain(|(name, _)| *name != VARIABLE);
    changed.push((OsStr::new(VARIABLE), None));

    let own = (!command.clears_environment()).then(std::env::vars_os);
    let mut texts = Texts::with_room_for(own.as_ref().map_or(0, |own| own.size_hint().0) + changed.len());
    for (name, value) in own.into_iter().flatten() {
        if changed.iter().all(|(other, _)| *other != name) {
            texts.push(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
    }
    for (name, value) in &changed {
        if let Some(value) = value {
            texts.push(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
    }
    Ok(texts)
}

/// Checks that a variable can be in an environment.
fn check_variable((name, value): (&OsStr, &OsStr)) -> Result<()> {
    let reason = match (name.as_bytes(), value.as_bytes()) {
        ([], _) => "has no name",
        (name, _) if name.contains(&b'=') => "has a name that contains =",
        (name, _) if name.contains(&0) => "has a name that contains a NUL",
        (_, value) if value.contains(&0) => "has a value that contains a NUL",
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("the environment variable {name:?}"), reason))
}

/// Returns the variable with the manifest, if objects are listed.
fn manifest(inherited_handles: &[(Arc<str>, HandleValue)]) -> Result<Option<IdLine>> {
    if inherited_handles.is_empty() {
        return Ok(None);
    }
    let line = IdLine::new(format!("{VARIABLE}={}", manifest_text(ID, inherited_handles)?));
    Ok(Some(line.expect("the manifest names its recipient")))
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn child_gets_a_number_for_each_object_in_any_order() {
        let files = [(); 3].map(|()| File::open("/dev/null").expect("it can be opened"));
        for order in [[0, 1, 2, 0, 1, 2], [2, 1, 0, 2, 1, 0], [1, 1, 2, 2, 0, 0]] {
            let mut numbers = Numbers::default();
            for index in order {
                numbers.give(files[index].as_fd(), rights::SAME).expect("the file is open");
            }
            let mut given: Vec<RawFd> = numbers.given.iter().map(|(_, number)| *number).collect();
            given.sort_unstable();
            given.dedup();
            assert_eq!(given.len(), order.len(), "{order:?}");
        }
    }
}
