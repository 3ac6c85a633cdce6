//! Starts a child from a [`Command`].

use std::ffi::OsStr;
use std::io::ErrorKind::PermissionDenied;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsHandle;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::Arc;

use super::duplicate_target::{DuplicateTarget, Inheritable};
use super::listed_objects::ListedObjects;
use super::parent_helper::Helper;
use super::socket_records::{self, SocketRecords};
use super::stdio::Stream;
use super::{SuspendedChild, kill_on_close_job, resolve_program, suspended_child};
use crate::error::{Error, Result};
use crate::inherit::{SOCKETS, VARIABLE, manifest_text};
use crate::process::command::Command;
use crate::process::env_block::{self, Variables};
use crate::process::{Argument, Change, Child, Default, Process, Source, check_names, command_line};
use crate::sys::io::{Owned, OwnedHandle};
use crate::sys::process::{self as sys, Plan};
use crate::sys::text::{compare_ignoring_case, own_environment, wide};

/// Starts a child that runs at once.
///
/// Winsock duplicates a socket for a process that exists. So a child that gets one is first created suspended.
pub(crate) fn spawn(command: &Command<'_>, default: Default) -> Result<Child> {
    if socket_records::are_needed(command) {
        return create_suspended(command, default)?.resume();
    }
    let created = if command.kill_with_parent {
        create_in_job(command, default, false)
    } else {
        create(command, default, false, None)
    };
    created.map(|(child, _thread)| child)
}

/// Starts a child in the job for `kill_with_parent`.
fn create_in_job(command: &Command<'_>, default: Default, suspended: bool) -> Result<(Child, Owned)> {
    let created = create(command, default, suspended, Some(&*kill_on_close_job::job()?));
    match created {
        Err(error) if error.kind() == PermissionDenied => {
            // Another reason than the job refuses the new job too, which is then closed.
            let job = kill_on_close_job::new_job()?;
            let created = create(command, default, suspended, Some(&*job))?;
            kill_on_close_job::keep(&job);
            Ok(created)
        }
        created => created,
    }
}

/// Starts a child and waits until it exits, without a timeout.
pub(crate) fn run_to_exit(command: &Command<'_>) -> Result<ExitStatus> {
    spawn(command, Default::Inherit)?.wait()
}

/// Starts a suspended child.
pub(crate) fn spawn_suspended(command: &Command<'_>) -> Result<SuspendedChild> {
    check_names(command)?;
    create_suspended(command, Default::Inherit)
}

fn create_suspended(command: &Command<'_>, default: Default) -> Result<SuspendedChild> {
    if command.kill_with_parent {
        let (child, thread) = create_in_job(command, default, true)?;
        return Ok(SuspendedChild::new(child, thread, None));
    }
    let job = suspended_child::job()?;
    let (child, thread) = create(command, default, true, Some(&job))?;
    Ok(SuspendedChild::new(child, thread, Some(job)))
}

/// Creates the process.
///
/// 1. Checks everything that needs no handle: the flags and the program. The caller has checked the names.
/// 2. Creates an inheritable duplicate of each stream, each listed object and each attached handle. The child will have
///    the same handle values.
/// 3. Writes the command line and the environment, which can contain the handle values.
/// 4. Creates the process with a list of exactly these duplicates, and closes the duplicates.
/// 5. Duplicates each listed socket for the process, which is then suspended.
///
/// If a step fails, the owners of what the earlier steps created close it on return, and the process is killed. Nothing can
/// fail after step 5.
fn create(
    command: &Command<'_>,
    default: Default,
    suspended: bool,
    job: Option<&Owned>,
) -> Result<(Child, Owned)> {
    if command.os.creation_flags & sys::SUSPENDED != 0 {
        return Err(Error::invalid(
            "the creation flag CREATE_SUSPENDED",
            "would start a child that can't be resumed; call spawn_suspended instead",
        ));
    }
    if command.kill_with_parent && !command.jobs.is_empty() {
        return Err(Error::invalid(
            "the job of kill_with_parent",
            "can't be combined with a job of your own; set JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE on your job instead, and keep its handle",
        ));
    }
    let program = program(command)?;
    let create_with =
        |target: &DuplicateTarget| create_with(target, command, &program, default, suspended, job);
    if !command.race_free {
        return create_with(&DuplicateTarget::ThisProcess);
    }
    let helper = Helper::get()?;
    create_with(&DuplicateTarget::Helper(Arc::clone(&helper))).or_else(|error| {
        if !helper.process().is_going() {
            return Err(error);
        }
        // The helper was killed during the spawn, so try once more with a new one.
        create_with(&DuplicateTarget::Helper(Helper::get()?))
    })
}

fn create_with(
    target: &DuplicateTarget,
    command: &Command<'_>,
    (application, as_typed): &(PathBuf, Vec<u16>),
    default: Default,
    suspended: bool,
    job: Option<&Owned>,
) -> Result<(Child, Owned)> {
    let [input, output, error] = [0, 1, 2].map(|which| {
        let default = match (default, which) {
            (Default::Inherit, _) => &Source::Inherit,
            (Default::Collect, 0) => &Source::Null,
            (Default::Collect, _) => &Source::Piped,
        };
        command.streams[which].as_ref().map_or(default, |stdio| &stdio.0).open(which, target)
    });
    let mut streams = [input?, output?, error?];
    let mut inheritable = Vec::with_capacity(streams.len() + command.inherit.len());
    let mut stream_values = [None; 3];
    for (value, stream) in stream_values.iter_mut().zip(&mut streams) {
        if let Some(childs) = stream.childs.take() {
            *value = Some(childs.value()?);
            inheritable.push(childs);
        }
    }
    let mut listed_objects = ListedObjects::default();
    let records = SocketRecords::of(command)?;
    if let Some(records) = &records {
        let duplicate = records.duplicate_for(target)?;
        listed_objects.push_handle(SOCKETS.into(), duplicate.value()?);
        inheritable.push(duplicate);
    }
    for listed in &command.inherit {
        if listed.object().is_socket() {
            listed_objects.push_socket(listed.name.clone())?;
            continue;
        }
        let duplicate = target.duplicate_listed(listed)?;
        listed_objects.push_handle(listed.name.clone(), duplicate.value()?);
        inheritable.push(duplicate);
    }

    let attachments =
        command.attachments.iter().map(|attachment| attachment.open()).collect::<Result<Vec<_>>>()?;
    for (name, object) in attachments.iter().flat_map(|attachment| attachment.handles()) {
        let context = || "the child's endpoint of a channel".to_owned();
        let duplicate = target
            .duplicate(object.checked(&context)?, object.rights())
            .map_err(|error| Error::system(context(), error))?;
        listed_objects.push_handle(name.into(), duplicate.value()?);
        inheritable.push(duplicate);
    }

    let failed = |error| {
        let error = match resolve_program::reason(&command.program, application, error) {
            Ok(reason) => return reason,
            Err(error) => error,
        };
        let context = match &command.directory {
            None => format!("the program {application:?}"),
            Some(directory) => {
                format!("the program {application:?} with the current directory {directory:?}")
            }
        };
        Error::system(context, error)
    };
    let plan = Plan {
        application: wide(resolve_program::api_path(application).map_err(failed)?.as_os_str()),
        command_line: write_command_line(as_typed, &command.arguments, &listed_objects)?,
        environment: environment(command, &listed_objects, target)?.map(|variables| variables.block()),
        directory: match &command.directory {
            Some(directory) => Some(with_nul(checked(directory.as_os_str(), "the current directory")?)),
            None => None,
        },
        creation_flags: command.os.creation_flags,
        show_window: command.os.show_window,
        suspended,
        streams: stream_values,
        inherit: inheritable.iter().map(Inheritable::value).collect::<Result<_>>()?,
        parent: target.parent().map(AsHandle::as_handle),
        jobs: command.jobs.iter().copied().chain(job.map(AsHandle::as_handle)).collect(),
    };
    let created = sys::create(&plan).map_err(failed)?;
    drop(inheritable);
    if let Some(records) = records {
        if let Err(error) = records.write_for(created.id) {
            // Terminating fails only if other code has killed the child already.
            let _ = sys::terminate(created.process.as_handle());
            return Err(error);
        }
    }

    let process = Process::new(created.process, created.id);
    let mut child = Child::new(process, command.kill_on_drop, listed_objects.into_handles());
    for attachment in attachments {
        child.set_attached(attachment.attach(child.process()));
    }
    for stream in &mut streams {
        if let Some(start) = stream.start.take() {
            // The relay thread is waiting for this message, so sending it doesn't fail.
            let _ = start.send(());
        }
    }
    // From here on, std's types own these handles and close them.
    let [stdin, stdout, stderr] = streams.map(|Stream { ours, .. }| ours.map(OwnedHandle::from));
    child.stdin = stdin.map(ChildStdin::from);
    child.stdout = stdout.map(ChildStdout::from);
    child.stderr = stderr.map(ChildStderr::from);
    Ok((child, created.thread))
}

/// Returns the program's file, and the name for the command line, as the caller gave it.
fn program(command: &Command<'_>) -> Result<(PathBuf, Vec<u16>)> {
    let as_typed = checked(&command.program, "the program's name")?;
    if as_typed.is_empty() {
        return Err(Error::invalid("the program's name", "is empty; give a name or a path"));
    }
    if as_typed.contains(&command_line::QUOTE) {
        return Err(Error::invalid(
            format!("the program's name, {:?},", command.program),
            "contains a quote, which no path on Windows can contain",
        ));
    }
    let application = resolve_program::find(&command.program, command.path().flatten().as_deref())?;
    if resolve_program::is_batch_file(&application) {
        return Err(Error::BatchFile { path: application });
    }
    Ok((application, as_typed))
}

fn write_command_line(
    program: &[u16],
    arguments: &[Argument],
    listed_objects: &ListedObjects,
) -> Result<Vec<u16>> {
    let mut line = Vec::new();
    command_line::push_program(&mut line, program);
    for argument in arguments {
        match argument {
            Argument::Plain(text) => command_line::push_argument(&mut line, &checked(text, "an argument")?),
            Argument::Os(text) => {
                command_line::push_raw(&mut line, &checked(text.as_os_str(), "an argument")?);
            }
            Argument::Template(text) => {
                let filled = listed_objects.fill(text)?;
                command_line::push_argument(&mut line, &checked(OsStr::new(&filled), "an argument")?);
            }
        }
    }
    if line.len() >= command_line::LONGEST {
        return Err(Error::invalid(
            format!("the command line of {} UTF-16 units", line.len()),
            format!(
                "is too long; at most {} units fit, so pass the rest in a file or a pipe",
                command_line::LONGEST - 1
            ),
        ));
    }
    Ok(with_nul(line))
}

fn units(text: &OsStr) -> Vec<u16> {
    text.encode_wide().collect()
}

fn with_nul(mut units: Vec<u16>) -> Vec<u16> {
    units.push(0);
    units
}

/// Returns the UTF-16 units of a text, which must not contain a NUL; `description` names it in the error.
fn checked(text: &OsStr, description: &str) -> Result<Vec<u16>> {
    let units = units(text);
    if units.contains(&0) {
        return Err(Error::invalid(
            format!("{description}, {text:?},"),
            "contains a NUL, at which the child would cut it off",
        ));
    }
    Ok(units)
}

/// Returns the child's environment, or `None` if it is an unchanged copy of this process's.
fn environment(
    command: &Command<'_>,
    listed_objects: &ListedObjects,
    target: &DuplicateTarget,
) -> Result<Option<Variables>> {
    let variables = changed(command)?;
    let has_own_manifest = std::env::var_os(VARIABLE).is_some();
    if listed_objects.is_empty() && !has_own_manifest && command.environment_handles.is_empty() {
        return Ok(variables);
    }
    let mut variables = match variables {
        Some(variables) => variables,
        None => copied()?,
    };
    // A manifest that this process got from its own parent isn't meant for the child.
    variables.remove(&units(OsStr::new(VARIABLE)));
    if !listed_objects.is_empty() {
        let parent = match target.parent() {
            None => Process::current_identity()?,
            Some(parent) => parent.identity()?,
        };
        let manifest = manifest_text(&parent.to_string(), listed_objects.places())?;
        variables.set(&units(OsStr::new(VARIABLE)), &units(OsStr::new(&manifest)));
    }
    for (name, template) in &command.environment_handles {
        set(&mut variables, name, OsStr::new(&listed_objects.fill(template)?))?;
    }
    Ok(Some(variables))
}

/// Returns this process's environment with the builder's changes, or `None` if the builder has none.
fn changed(command: &Command<'_>) -> Result<Option<Variables>> {
    const SYSTEM_ROOT: &str = "SystemRoot";
    if command.environment.is_empty() {
        return Ok(None);
    }
    let mut variables = copied()?;
    for change in &command.environment {
        match change {
            Change::Set(name, value) => set(&mut variables, name, value)?,
            Change::Remove(name) => variables.remove(&units(name)),
            Change::Clear => {
                variables = Variables::new(compare_ignoring_case);
                if let Some(root) = std::env::var_os(SYSTEM_ROOT) {
                    variables.set(&units(OsStr::new(SYSTEM_ROOT)), &units(&root));
                }
            }
        }
    }
    Ok(Some(variables))
}

fn copied() -> Result<Variables> {
    let block = own_environment().map_err(|error| Error::system("this process's environment", error))?;
    Ok(Variables::of_block(&block, compare_ignoring_case))
}

fn set(variables: &mut Variables, name: &OsStr, value: &OsStr) -> Result<()> {
    let (name_units, value_units) = (units(name), units(value));
    if let Some(reason) = env_block::objection(&name_units, &value_units) {
        return Err(Error::invalid(format!("the environment variable {name:?}"), reason));
    }
    variables.set(&name_units, &value_units);
    Ok(())
}
