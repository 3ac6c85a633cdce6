//! Collects what the system shows about a process that is stopped before its first instruction.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::BorrowedHandle;

use super::handle_table::inherited;
use crate::error::Result;
use crate::handle::{HandleValue, ProcessIdentity};
use crate::inherit::{Manifest, VARIABLE, identity_of, value_of};
use crate::inspect::audit::ProcessSnapshot;
use crate::inspect::{HandleEntry, Unavailable};
use crate::sys::SysError;
use crate::sys::handle::duplicate_from;
use crate::sys::io::HasHandle;
use crate::sys::object_info::is_same;
use crate::sys::peb::{Parameters, basic, program, read};
use crate::sys::process::exit_status;
use crate::sys::text::is_same_variable;

/// Collects the information about a stopped process.
pub(super) fn snapshot(id: u32, process: BorrowedHandle<'_>) -> ProcessSnapshot {
    let basic = basic(process);
    let parent = basic.as_ref().map_or(0, |basic| basic.parent);
    let parameters = basic.and_then(|basic| read(process, basic)).map_err(unavailable("its parameters"));
    let inherited = inherited(id, process).map_err(unavailable("its handles"));
    let inherited = if has_exited(process) {
        // The process was killed meanwhile, which closed its handles, so the list is incomplete.
        Err(Unavailable { reason: "the process exited before it could be examined".into() })
    } else {
        inherited
    };
    let streams = parameters.as_ref().map(streams).map_err(Clone::clone);
    let duplicate_streams = match (&inherited, &streams) {
        (Ok(inherited), Ok(streams)) => duplicate_streams(process, inherited, streams),
        _ => Vec::new(),
    };
    ProcessSnapshot {
        id,
        parent,
        program: program(process).map_err(unavailable("its program")),
        inherited,
        streams,
        duplicate_streams,
        listed: parameters.and_then(|parameters| {
            listed(parent, &parameters.environment).map_err(|error| Unavailable { reason: error.to_string() })
        }),
    }
}

/// Returns whether the stopped process has been killed.
fn has_exited(process: BorrowedHandle<'_>) -> bool {
    const STILL_ACTIVE: i32 = 259;
    !exit_status(process).is_ok_and(|status| status.and_then(|status| status.code()) == Some(STILL_ACTIVE))
}

fn unavailable(what: &str) -> impl FnOnce(SysError) -> Unavailable {
    move |error| Unavailable { reason: format!("{what}: {error}") }
}

/// Returns the handle values of its three standard streams and its console, if they are valid.
fn streams(parameters: &Parameters) -> Vec<HandleValue> {
    parameters.streams.iter().filter_map(|number| HandleValue::new(*number as u64).ok()).collect()
}

/// Returns the inherited handles that refer to the same object as one of the streams.
fn duplicate_streams(
    process: BorrowedHandle<'_>,
    inherited: &[HandleEntry],
    streams: &[HandleValue],
) -> Vec<HandleValue> {
    let copy = |value: HandleValue| duplicate_from(process, value).ok();
    let streams: Vec<_> = streams.iter().filter_map(|value| copy(*value)).collect();
    let is_stream = |value: HandleValue| {
        copy(value).is_some_and(|copy| {
            streams.iter().any(|stream| is_same(copy.handle(), stream.handle()).unwrap_or(false))
        })
    };
    inherited.iter().map(HandleEntry::value).filter(|value| is_stream(*value)).collect()
}

/// Returns the objects that the environment lists, if the parent wrote the list for this process.
fn listed(parent: u32, block: &[u16]) -> Result<Vec<(String, HandleValue)>> {
    let Some(text) = variable(block, VARIABLE) else { return Ok(Vec::new()) };
    let manifest = Manifest::parse(&text.to_string_lossy())?;
    let Ok(meant_for) = ProcessIdentity::parse(&manifest.meant_for) else { return Ok(Vec::new()) };
    // The process itself makes the same check later.
    let is_for_this_process =
        meant_for.id == parent && identity_of(parent)?.is_none_or(|identity| identity == meant_for);
    if !is_for_this_process {
        return Ok(Vec::new());
    }
    // A socket isn't inherited.
    let inherited = |(name, place)| Some((name, value_of(place)?));
    Ok(manifest.objects.into_iter().filter_map(inherited).collect())
}

/// Returns the value of a variable in an environment block.
fn variable(block: &[u16], name: &str) -> Option<OsString> {
    block.split(|unit| *unit == 0).find_map(|variable| {
        let end = variable.iter().position(|unit| *unit == u16::from(b'='))?;
        let (its_name, value) = (&variable[..end], &variable[end + 1..]);
        is_same_variable(&OsString::from_wide(its_name), OsStr::new(name)).then(|| OsString::from_wide(value))
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::process::Process;

    #[test]
    fn variable_is_found_by_its_whole_name() {
        let found =
            |text: &str| variable(&text.replace('|', "\0").encode_utf16().collect::<Vec<_>>(), "NAME");
        assert_eq!(found("=C:=C:\\|A=1|name=2|Z=3|"), Some("2".into()));
        assert_eq!(found("A=NAME=1|NAMES=2|NAM=3|"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn manifest_for_another_process_lists_nothing() -> Result<()> {
        let this = Process::current_identity()?;
        let listed_objects = |meant_for: &str, parent: u32| {
            let block: Vec<u16> =
                format!("A=1\0{VARIABLE}=1 {meant_for} 68=ready\0").encode_utf16().collect();
            listed(parent, &block)
        };
        let ready = vec![("ready".to_owned(), "68".parse()?)];
        assert_eq!(listed_objects(&this.to_string(), this.id)?, ready);
        // A manifest from an earlier process with this id, and one from another process.
        let earlier = this.to_string().replace('@', "@1");
        assert_eq!(listed_objects(&earlier, this.id)?, []);
        assert_eq!(listed_objects(&this.to_string(), this.id + 4)?, []);
        assert_eq!(listed_objects("nobody", this.id)?, []);
        // If the parent can't be queried, its id alone decides.
        let nobody = 0x7fff_fffc;
        assert_eq!(listed_objects(&format!("{nobody}@1"), nobody)?, ready);
        Ok(())
    }

    #[test]
    fn exited_process_has_no_handles() -> io::Result<()> {
        use std::os::windows::io::AsHandle;
        let program = std::env::current_exe()?;
        let mut command = std::process::Command::new(program);
        let mut child = command.arg("--list").stdout(std::process::Stdio::null()).spawn()?;
        assert!(child.wait()?.success());
        let snapshot = snapshot(child.id(), child.as_handle());
        let unavailable = snapshot.inherited.expect_err("the process has exited");
        assert!(unavailable.to_string().contains("exited before"), "{unavailable}");
        Ok(())
    }
}
