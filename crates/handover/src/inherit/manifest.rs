//! The manifest: the list in which a parent passes the names and handle values of the inherited objects to its child.
//!
//! It is the value of one environment variable. Its words are separated by spaces:
//!
//! ```text
//! 1 256@1dc5b4a6f9d3e80 68=ready 72=log%20file
//! │ │                   └ place=name for each object; a name has %XX for %, space, and bytes outside printable ASCII
//! │ └ the recipient: on Windows the identity (id and creation time) of its parent, on Linux its own process id
//! └ the version of the format
//! ```
//!
//! The place is the handle value in the recipient. On Windows, that of a socket is `s` and a decimal index: the socket is the
//! one of the record with that index in the section that is listed before it as [`SOCKETS`].
//!
//! On Linux another spawner than this crate's `Command` doesn't know the id beforehand. Then the second word is `@` and a
//! number in hex, and the list has the object [`RECIPIENT`], with which the recipient proves that it is meant.

use std::fmt::Write;

use super::imp::{Place, number_of_place};
use crate::error::{Error, Result};

/// The environment variable that holds the manifest.
pub(crate) const VARIABLE: &str = "HANDOVER_INHERITED";

/// The name of the object that proves which process a manifest is for, if the manifest doesn't name the process.
pub(crate) const RECIPIENT: &str = "handover/recipient";

/// The name of the section with the records of the inherited sockets, on Windows.
pub(crate) const SOCKETS: &str = "handover/sockets";

const VERSION: &str = "1";
const OURS: u32 = 1;

/// The maximum length of the variable's value. Windows limits a variable to 32,767 characters with its name, and the
/// same limit is enough on Linux
/// ([Environment variables](https://learn.microsoft.com/windows/win32/procthread/environment-variables)).
const MAX_LENGTH: usize = 32_767 - VARIABLE.len() - "=\0".len();

/// The recipient of a list of objects, and the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The recipient, in a form of each system's own: a word without spaces.
    pub(crate) meant_for: String,
    /// The objects' names, and where the recipient finds them.
    pub(crate) objects: Vec<(String, Place)>,
}

impl Manifest {
    /// Returns the variable's value, as the function [`text`] does.
    #[allow(dead_code, reason = "used on Linux only, and by tests")]
    pub(crate) fn text(&self) -> Result<String> {
        text(&self.meant_for, &self.objects)
    }

    /// Parses the text that [`text`](Self::text) returns. Fails for malformed text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut words = text.split(' ');
        match words.next().filter(|word| *word != VERSION).map(str::parse) {
            None => {}
            Some(Ok(theirs)) => return Err(Error::IncompatibleVersion { ours: OURS, theirs }),
            Some(Err(_)) => return Err(malformed!("was not written by handover")),
        }
        let meant_for = words.next().filter(|word| !word.is_empty());
        let meant_for = meant_for
            .ok_or_else(|| malformed!("does not name the process that it was written for"))?
            .to_owned();
        let mut objects = Vec::new();
        for word in words {
            let (place, name) =
                word.split_once('=').ok_or_else(|| malformed!("lists an object without a name"))?;
            let place: Place =
                place.parse().map_err(|_| malformed!("lists a number that is not a handle value"))?;
            let name = decode(name).filter(|name| !name.is_empty());
            objects.push((
                name.ok_or_else(|| malformed!("lists a name that is empty or not encoded correctly"))?,
                place,
            ));
        }
        if has_duplicates(objects.iter().map(|(name, _)| name.as_str())) {
            return Err(malformed!("lists a name twice"));
        }
        // Each taken object closes its handle. With two owners, the second close could hit an unrelated handle.
        if has_duplicates(objects.iter().map(|(_, place)| number_of_place(*place))) {
            return Err(malformed!("lists a handle twice"));
        }
        Ok(Self { meant_for, objects })
    }
}

/// Returns the variable's value.
///
/// Fails if it is longer than a variable can be.
pub(crate) fn text<Name: AsRef<str>>(meant_for: &str, objects: &[(Name, Place)]) -> Result<String> {
    /// The room for a place and the characters around it.
    const PLACE: usize = " 4294967295=".len();
    let names: usize = objects.iter().map(|(name, _)| name.as_ref().len()).sum();
    let mut text = String::with_capacity(VERSION.len() + 1 + meant_for.len() + names + objects.len() * PLACE);
    text.push_str(VERSION);
    text.push(' ');
    text.push_str(meant_for);
    for (name, place) in objects {
        text.push(' ');
        place.push_to(&mut text);
        text.push('=');
        push_encoded(&mut text, name.as_ref());
    }
    if text.len() > MAX_LENGTH {
        return Err(Error::InvalidInput {
            input: format!("the names of {} objects to inherit", objects.len()),
            reason: format!(
                "take {} characters, but at most {MAX_LENGTH} fit; use shorter names or fewer objects",
                text.len()
            ),
        });
    }
    Ok(text)
}

/// Returns the error for a manifest that this crate can't have written. The reason is a predicate: "is too long".
macro_rules! malformed {
    ($reason:literal) => {
        $crate::inherit::manifest::invalid_manifest(concat!(
            $reason,
            "; only the process that starts this one should set it"
        ))
    };
}
pub(crate) use malformed;

/// Returns the error for a manifest that can't be used. The reason is a predicate and says what
/// to do.
pub(crate) fn invalid_manifest(reason: &'static str) -> Error {
    Error::InvalidManifest { name: VARIABLE, reason }
}

fn has_duplicates<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.windows(2).any(|pair| pair[0] == pair[1])
}

/// Appends a name with %XX for each `%`, each space, and each byte that isn't printable ASCII.
fn push_encoded(text: &mut String, name: &str) {
    if name.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'%') {
        text.push_str(name);
        return;
    }
    for byte in name.bytes() {
        match byte {
            b'%' => text.push_str("%25"),
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02x}").expect("writing to a String never fails"),
        }
    }
}

/// Reverses [`push_encoded`]. Returns `None` for malformed text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                // std's parser also accepts a sign.
                let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            b'!'..=b'~' => bytes.push(*first),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::HandleValue;
    use crate::inherit::imp::place_of;

    fn manifest(names: &[&str]) -> Manifest {
        let value = |index: usize| place_of(HandleValue::try_from(4 + 4 * index).expect("a value"));
        Manifest {
            meant_for: "256@1dc5b4a6f9d3e80".into(),
            objects: names
                .iter()
                .enumerate()
                .map(|(index, name)| ((*name).to_owned(), value(index)))
                .collect(),
        }
    }

    #[test]
    fn parse_reads_the_text_that_text_writes() -> Result<()> {
        for names in [&[][..], &["ready"], &["a=b", "log file", "100%", "Ä🦀", "\n\t", "=", "%41"]] {
            let manifest = manifest(names);
            assert_eq!(Manifest::parse(&manifest.text()?)?, manifest);
        }
        assert_eq!(manifest(&["ready", "log file"]).text()?, "1 256@1dc5b4a6f9d3e80 4=ready 8=log%20file");
        Ok(())
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes")]
    fn text_has_room_for_a_thousand_objects() -> Result<()> {
        let names: Vec<String> = (0..1000).map(|number| format!("object number {number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(Manifest::parse(&manifest(&names).text()?)?.objects.len(), 1000);
        let long = "n".repeat(MAX_LENGTH);
        let error = manifest(&[&long]).text().expect_err("too long").to_string();
        assert!(error.contains("use shorter names or fewer objects"), "{error}");
        Ok(())
    }

    #[test]
    fn parse_refuses_text_that_no_parent_writes() {
        for (text, part) in [
            ("", "not written by handover"),
            ("one 256@1", "not written by handover"),
            ("2 256@1", "uses version 2"),
            ("0", "uses version 0"),
            ("1", "written for"),
            ("1 ", "written for"),
            ("1 256@1 ", "without a name"),
            ("1 256@1 68", "without a name"),
            ("1 256@1 68=", "not encoded correctly"),
            ("1 256@1 68=%", "not encoded correctly"),
            ("1 256@1 68=%4", "not encoded correctly"),
            ("1 256@1 68=%+4", "not encoded correctly"),
            ("1 256@1 68=%ff", "not encoded correctly"),
            ("1 256@1 68=ä", "not encoded correctly"),
            ("1 256@1 -1=a", "not a handle value"),
            ("1 256@1 s=a", "not a handle value"),
            ("1 256@1 s+1=a", "not a handle value"),
            ("1 256@1 s65536=a", "not a handle value"),
            ("1 256@1 4294967295=a", "not a handle value"),
            ("1 256@1 68=a 72=a", "a name twice"),
            ("1 256@1 68=a 68=b", "a handle twice"),
            ("1 256@1 68=a 0x44=b", "a handle twice"),
        ] {
            let error = Manifest::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn text_accepts_the_maximum_length_and_no_more() -> Result<()> {
        let rest = manifest(&["n"]).text()?.len() - 1;
        let text = manifest(&[&"n".repeat(MAX_LENGTH - rest)]).text()?;
        assert_eq!(text.len(), MAX_LENGTH);
        assert!(manifest(&[&"n".repeat(MAX_LENGTH - rest + 1)]).text().is_err());
        Ok(())
    }
}
