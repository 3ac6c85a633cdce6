//! What the system shows of a process that stands still before its first instruction.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::BorrowedHandle;

use super::handle_table::inherited;
use crate::error::Result;
use crate::handle::{HandleValue, ProcessIdentity};
use crate::inherit::{Manifest, VARIABLE, identity_of};
use crate::inspect::audit::Seen;
use crate::inspect::{HandleEntry, Unavailable};
use crate::sys::SysError;
use crate::sys::handle::duplicate_from;
use crate::sys::io::HasHandle;
use crate::sys::object_info::is_same;
use crate::sys::peb::{Parameters, basic, program, read};
use crate::sys::process::exit_status;
use crate::sys::text::is_same_variable;

/// All that is to be known.
pub(super) fn look(id: u32, process: BorrowedHandle<'_>) -> Seen {
    let basic = basic(process);
    let parent = basic.as_ref().map_or(0, |basic| basic.parent);
    let parameters = basic.and_then(|basic| read(process, basic)).map_err(untold("its parameters"));
    let inherited = inherited(id, process).map_err(untold("its handles"));
    let inherited = if has_exited(process) {
        // What it had is closed, under one's hands.
        Err(Unavailable { why: "it has been ended before it was looked at".into() })
    } else {
        inherited
    };
    let streams = parameters.as_ref().map(streams).map_err(Clone::clone);
    let twice = match (&inherited, &streams) {
        (Ok(inherited), Ok(streams)) => twice(process, inherited, streams),
        _ => Vec::new(),
    };
    Seen {
        id,
        parent,
        program: program(process).map_err(untold("its program")),
        inherited,
        streams,
        twice,
        listed: parameters.and_then(|parameters| {
            listed(parent, &parameters.environment).map_err(|error| Unavailable { why: error.to_string() })
        }),
    }
}

/// Whether somebody has ended it.
fn has_exited(process: BorrowedHandle<'_>) -> bool {
    const STILL_ACTIVE: i32 = 259;
    !exit_status(process).is_ok_and(|status| status.and_then(|status| status.code()) == Some(STILL_ACTIVE))
}

fn untold(what: &str) -> impl FnOnce(SysError) -> Unavailable {
    move |error| Unavailable { why: format!("{what}: {error}") }
}

/// Its three streams and its console, as far as they are handles.
fn streams(parameters: &Parameters) -> Vec<HandleValue> {
    parameters.streams.iter().filter_map(|number| HandleValue::new(*number as u64).ok()).collect()
}

/// What refers to the same object as one of the streams.
fn twice(
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

/// What its environment lists, if its parent has written that for it and not for another.
fn listed(parent: u32, block: &[u16]) -> Result<Vec<(String, HandleValue)>> {
    let Some(text) = variable(block, VARIABLE) else { return Ok(Vec::new()) };
    let manifest = Manifest::parse(&text.to_string_lossy())?;
    let Ok(meant_for) = ProcessIdentity::parse(&manifest.meant_for) else { return Ok(Vec::new()) };
    // As the process itself will ask.
    let is_its = meant_for.id == parent && identity_of(parent)?.is_none_or(|identity| identity == meant_for);
    Ok(if is_its { manifest.objects } else { Vec::new() })
}

/// A variable's value.
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
    fn a_variable_is_found_by_its_whole_name() {
        let found =
            |text: &str| variable(&text.replace('|', "\0").encode_utf16().collect::<Vec<_>>(), "NAME");
        assert_eq!(found("=C:=C:\\|A=1|name=2|Z=3|"), Some("2".into()));
        assert_eq!(found("A=NAME=1|NAMES=2|NAM=3|"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn what_another_process_was_told_is_not_this_ones() -> Result<()> {
        let this = Process::current_identity()?;
        let told = |meant_for: &str, parent: u32| {
            let block: Vec<u16> =
                format!("A=1\0{VARIABLE}=1 {meant_for} 68=ready\0").encode_utf16().collect();
            listed(parent, &block)
        };
        let ready = vec![("ready".to_owned(), "68".parse()?)];
        assert_eq!(told(&this.to_string(), this.id)?, ready);
        // Of a process that had the id before, and of another one.
        let earlier = this.to_string().replace('@', "@1");
        assert_eq!(told(&earlier, this.id)?, []);
        assert_eq!(told(&this.to_string(), this.id + 4)?, []);
        assert_eq!(told("nobody", this.id)?, []);
        // One that can't be asked is believed by its number.
        let nobody = 0x7fff_fffc;
        assert_eq!(told(&format!("{nobody}@1"), nobody)?, ready);
        Ok(())
    }

    #[test]
    fn a_process_that_has_ended_has_nothing_to_look_at() -> io::Result<()> {
        use std::os::windows::io::AsHandle;
        let program = std::env::current_exe()?;
        let mut command = std::process::Command::new(program);
        let mut child = command.arg("--list").stdout(std::process::Stdio::null()).spawn()?;
        assert!(child.wait()?.success());
        let seen = look(child.id(), child.as_handle());
        let untold = seen.inherited.expect_err("it has nothing any more");
        assert!(untold.to_string().contains("ended before"), "{untold}");
        Ok(())
    }
}
