//! Linux: the initial environment, the check of a manifest's recipient, and the sockets that a service manager passed.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::listen_fds::named;
use super::manifest::{Manifest, RECIPIENT, VARIABLE, malformed};
use crate::error::{Error, LISTEN_PID, Result};
use crate::handle::HandleValue;
use crate::object::adopt::Adoption;
use crate::sys::SysResult;
use crate::sys::handle::page_at;
use crate::sys::recipient::{self, Recipient};

/// The environment that this process started with. Later changes by its own code don't affect it.
#[derive(Debug)]
pub(crate) struct InitialEnvironment {
    /// The variables, with a NUL after each. `None` without /proc: `get` then reads the current environment.
    block: Option<Vec<u8>>,
}

impl InitialEnvironment {
    pub(crate) fn read() -> Result<Self> {
        match page_at(Path::new("/proc/thread-self/environ")) {
            Ok(block) => Ok(Self { block: Some(block) }),
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => Ok(Self { block: None }),
            Err(error) => Err(Error::system("this process's environment", error)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        self.block.as_ref().map_or_else(|| std::env::var_os(name), |block| variable_in(block, name))
    }
}

fn variable_in(block: &[u8], name: &str) -> Option<OsString> {
    let value = |line: &[u8]| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(OsStr::from_bytes(value).as_bytes().to_vec()))
    };
    block.split(|byte| *byte == 0).find_map(value)
}

/// Where this process finds an inherited object: a descriptor.
pub(crate) type Place = HandleValue;

/// Returns a number that no other place has.
pub(super) fn number_of_place(place: Place) -> u64 {
    place.get().into()
}

/// Returns the place of the descriptor with this number.
#[cfg_attr(
    not(any(test, feature = "fuzzing")),
    allow(dead_code, reason = "on Windows a place is more than a handle value")
)]
pub(crate) fn place_of(value: HandleValue) -> Place {
    value
}

/// Returns the number of the descriptor that is in the place.
#[allow(clippy::unnecessary_wraps, reason = "on Windows a socket has no handle at first")]
pub(crate) fn value_of(place: Place) -> Option<HandleValue> {
    Some(place)
}

/// Does nothing: every list of descriptors can be used.
#[allow(clippy::unnecessary_wraps, reason = "on Windows the list of sockets can be wrong")]
pub(crate) fn check_places(_: &[(String, Place)]) -> Result<()> {
    Ok(())
}

/// Makes this process the owner of an inherited object, which can then be taken by its name.
pub(crate) fn keep(place: &mut Place, adoption: &mut Adoption, _: Option<HandleValue>) -> SysResult<()> {
    adoption.keep(*place)
}

/// Checks that the manifest names this process, or that this process has the proof that the manifest names.
///
/// A process that only copied its parent's environment has another id, so the check fails. execve(2) keeps the id, so a
/// script may `exec` the worker that the objects are for.
pub(crate) fn check_is_for_this_process(manifest: &Manifest) -> Result<()> {
    let this = std::process::id();
    let expected = match proof(manifest)? {
        None => {
            let meant_for: u32 =
                manifest.meant_for.parse().map_err(|_| malformed!("does not name a process id"))?;
            if meant_for == this {
                return Ok(());
            }
            format!("process {meant_for}")
        }
        Some((value, nonce)) => {
            let failed = |error| Error::system("the list of inherited objects", error);
            match recipient::find(value).map_err(failed)?.filter(|found| found.nonce == nonce) {
                Some(Recipient { process, .. }) if process == this => return Ok(()),
                Some(Recipient { process, .. }) => format!("process {process}"),
                None => format!("the process that has descriptor {value} from its parent"),
            }
        }
    };
    Err(Error::ManifestMismatch { name: VARIABLE, expected, found: format!("process {this}") })
}

/// The first character of the second word of a manifest whose recipient has a proof.
const HAS_PROOF: char = '@';

/// Returns the second word of a manifest whose recipient has a proof with this number.
pub(crate) fn nonce_text(nonce: u128) -> String {
    format!("{HAS_PROOF}{nonce:032x}")
}

/// Returns the descriptor of the proof that the manifest's recipient has, and the number in it. Returns `None` if the
/// manifest names its recipient.
fn proof(manifest: &Manifest) -> Result<Option<(HandleValue, u128)>> {
    let Some(digits) = manifest.meant_for.strip_prefix(HAS_PROOF) else { return Ok(None) };
    let is_number = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let nonce = u128::from_str_radix(digits, 16).ok().filter(|_| is_number);
    let nonce = nonce.ok_or_else(|| malformed!("does not name its recipient"))?;
    let object = manifest.objects.iter().find(|(name, _)| name == RECIPIENT);
    let (_, value) = object.ok_or_else(|| malformed!("lists no proof of its recipient"))?;
    Ok(Some((*value, nonce)))
}

/// Returns whether the manifest's recipient has a proof, so that a list of this crate can be extended.
pub(crate) fn has_proof(manifest: &Manifest) -> bool {
    matches!(proof(manifest), Ok(Some(_)))
}

/// Returns whether a process, which the caller examines, is the recipient of the manifest by its proof. `find` looks for
/// the proof under a number of that process.
#[cfg(any(feature = "inspect", test))]
pub(crate) fn is_for_proven(
    manifest: &Manifest,
    process: u32,
    find: impl FnOnce(HandleValue) -> Option<Recipient>,
) -> bool {
    let proof = proof(manifest).ok().flatten();
    proof.is_some_and(|(value, nonce)| find(value) == Some(Recipient { process, nonce }))
}

/// Returns the file descriptors that a service manager passed to this process, with their names. They begin at 3.
///
/// If the variables were written for another process, the error is [`Error::ManifestMismatch`].
pub(crate) fn listen_fds(environment: &InitialEnvironment) -> Result<Vec<(String, HandleValue)>> {
    let (pid, count) = (environment.get(LISTEN_PID), environment.get("LISTEN_FDS"));
    named(pid, count, environment.get("LISTEN_FDNAMES"), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_with_malformed_proof_is_refused() -> Result<()> {
        let digits = "0123456789abcdef0123456789abcdef";
        for (text, part) in [
            ("1 @ 9=handover/recipient", "does not name its recipient"),
            ("1 @7 9=handover/recipient", "does not name its recipient"),
            ("1 @+123456789abcdef0123456789abcdef 9=handover/recipient", "does not name its recipient"),
            (&format!("1 @{digits}0 9=handover/recipient"), "does not name its recipient"),
            (&format!("1 @{digits} 9=ready"), "lists no proof"),
            (&format!("1 {digits} 9=ready"), "process id"),
        ] {
            let refused = check_is_for_this_process(&Manifest::parse(text)?);
            let error = refused.expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        Ok(())
    }

    #[test]
    fn second_word_of_a_manifest_has_all_digits_of_the_number() -> Result<()> {
        let manifest = |nonce| Manifest::parse(&format!("1 {} 9={RECIPIENT}", nonce_text(nonce)));
        for nonce in [0, 7, u128::MAX] {
            assert_eq!(proof(&manifest(nonce)?)?, Some((HandleValue::new(9)?, nonce)));
        }
        let list = manifest(7)?;
        let is_for = |process, nonce| {
            is_for_proven(&list, 77, |value| (value.get() == 9).then_some(Recipient { process, nonce }))
        };
        assert!(is_for(77, 7) && !is_for(78, 7) && !is_for(77, 8));
        Ok(())
    }

    #[test]
    fn variable_in_matches_the_whole_name() {
        let block = b"PATHS=no\0PATH=/bin:=x\0EMPTY=\0PATH=second\0=odd\0";
        assert_eq!(variable_in(block, "PATH"), Some("/bin:=x".into()));
        assert_eq!(variable_in(block, "EMPTY"), Some("".into()));
        assert_eq!(variable_in(block, "ATH"), None);
    }
}
