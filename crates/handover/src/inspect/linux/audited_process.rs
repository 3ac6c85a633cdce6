//! Collects what the kernel shows about a process that is stopped before its first instruction.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::handle_table::entries_of;
use crate::error::Result;
use crate::handle::HandleValue;
use crate::inherit::listen_fds::named;
use crate::inherit::manifest::{Manifest, VARIABLE};
use crate::inherit::{is_for_proven, with_sockets};
use crate::inspect::audit::ProcessSnapshot;
use crate::inspect::{HandleEntry, Unavailable};
use crate::sys::handle::{duplicate_from, link_at, page_at};
use crate::sys::io::HasHandle;
use crate::sys::process as sys;
use crate::sys::ptrace;
use crate::sys::recipient::{self, Recipient};

/// Collects the information about a stopped process.
pub(super) fn snapshot(process: u32) -> ProcessSnapshot {
    let path = |name: &str| PathBuf::from(format!("/proc/{process}/{name}"));
    // These are the descriptors that crossed the exec. The process has no others yet.
    let inherited = entries_of(process).map_err(|error| unavailable(format!("its descriptors: {error}")));
    let inherited = inherited.and_then(|entries| match ptrace::message(process) {
        // The process is still stopped, so it was stopped all the time. Only a kill can end the stop.
        Ok(_) => Ok(entries),
        Err(_) => Err(unavailable("the process was killed before it could be examined")),
    });
    let status = page_at(&path("status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let parent = line("PPid:").and_then(|parent| parent.trim().parse().ok());
    // In a PID namespace of its own, the process knows itself by another id, the last one in this line. Its environment
    // refers to that id.
    let id_in_its_namespace = line("NSpid:").and_then(|ids| ids.split_whitespace().next_back()?.parse().ok());
    let id_in_its_namespace = id_in_its_namespace.unwrap_or(process);
    let values: Vec<HandleValue> = inherited.iter().flatten().map(HandleEntry::value).collect();
    let is_passed = |value| values.contains(&value);
    ProcessSnapshot {
        id: process,
        parent: parent.unwrap_or_default(),
        program: link_at(&path("exe")).map_err(|error| unavailable(format!("its program: {error}"))),
        inherited,
        streams: Ok((0_u64..3).filter_map(|number| HandleValue::try_from(number).ok()).collect()),
        duplicate_streams: Vec::new(),
        listed: match page_at(&path("environ")) {
            Ok(block) => {
                let is_proven =
                    |manifest: &Manifest| is_for_proven(manifest, process, |value| proof_in(process, value));
                let listed = listed(id_in_its_namespace, &block, is_passed, is_proven);
                listed.map_err(|error| unavailable(error.to_string()))
            }
            Err(error) => Err(unavailable(format!("its environment: {error}"))),
        },
    }
}

/// Returns the proof of a recipient that a stopped process has under a number.
fn proof_in(process: u32, value: HandleValue) -> Option<Recipient> {
    let process = sys::open(process).ok()?;
    let proof = duplicate_from(process.handle(), value).ok()?;
    recipient::find(HandleValue::of(&proof).ok()?).ok()?
}

fn unavailable(reason: impl Into<String>) -> Unavailable {
    Unavailable { reason: reason.into() }
}

/// Returns the objects that the environment lists for this very process, by this crate's rules and by those of service
/// managers.
fn listed(
    process: u32,
    block: &[u8],
    is_passed: impl Fn(HandleValue) -> bool,
    is_proven: impl FnOnce(&Manifest) -> bool,
) -> Result<Vec<(String, HandleValue)>> {
    let variable = |name: &str| {
        let mut variables = block.split(|byte| *byte == 0);
        let value = variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(|value| OsString::from_vec(value.to_vec()))
    };
    let mut listed = Vec::new();
    if let Some(text) = variable(VARIABLE) {
        let manifest = Manifest::parse(&text.to_string_lossy())?;
        if manifest.meant_for.parse() == Ok(process) || is_proven(&manifest) {
            listed = manifest.objects;
        }
    }
    let [meant_for, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(variable);
    // Values that no service manager writes list no objects.
    let sockets = named(meant_for, count, names, process).unwrap_or_default();
    // Without a list of the parent's, the process itself takes the variables at their word.
    if listed.is_empty() {
        return Ok(sockets);
    }
    Ok(with_sockets(listed, sockets, is_passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_listed_for_this_process_count() -> Result<()> {
        let names = |block: &str| -> Result<Vec<(String, u32)>> {
            let listed =
                listed(77, block.replace('|', "\0").as_bytes(), |value| value.get() == 3, |_| false)?;
            Ok(listed.into_iter().map(|(name, value)| (name, value.get())).collect())
        };
        assert_eq!(names("")?, []);
        assert_eq!(names("HANDOVER_INHERITED=1 77 5=ready|HOME=/|")?, [("ready".to_owned(), 5)]);
        assert_eq!(names("HANDOVER_INHERITED=1 78 5=ready|")?, []);
        assert_eq!(names("MY_HANDOVER_INHERITED=1 77 5=ready|HANDOVER_INHERITED2=1 77 5=ready|")?, []);
        let manager = "LISTEN_PID=77|LISTEN_FDS=1|LISTEN_FDNAMES=web|";
        assert_eq!(names(manager)?, [("web".to_owned(), 3)]);
        assert_eq!(names(&manager.replace("77", "78"))?, []);
        assert_eq!(names("LISTEN_PID=me|LISTEN_FDS=1|")?, []);
        // A list of the parent's wins over variables that name this process by coincidence.
        let parents = "HANDOVER_INHERITED=1 77 5=ready|";
        let both = [("ready".to_owned(), 5), ("web".to_owned(), 3)];
        assert_eq!(names(&format!("{parents}{manager}"))?, both);
        assert_eq!(names(&format!("{parents}LISTEN_PID=77|LISTEN_FDS=2|"))?, both[..1]);
        assert!(names("HANDOVER_INHERITED=nonsense|").is_err());
        Ok(())
    }
}
