//! The manifest: how a child learns what it inherited, under which names, and that it is the one meant.
//!
//! It is the value of one environment variable, words with a space between them:
//!
//! ```text
//! 1 256@1dc5b4a6f9d3e80 68=ready 72=log%20file
//! │ │                   └ value=name for each object; in names, what isn't printable ASCII, %, and space are %XX
//! │ └ whom it is meant for: on Windows the parent's identity, its id and when it was created; on Linux the child's id
//! └ the format's version
//! ```

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::handle::HandleValue;

/// The environment variable that holds the manifest.
pub(crate) const VARIABLE: &str = "HANDOVER_INHERITED";

const VERSION: &str = "1";

/// The most characters that one variable can have on Windows, and more than enough elsewhere
/// ([Environment variables](https://learn.microsoft.com/windows/win32/procthread/environment-variables)).
const LONGEST: usize = 32_767 - VARIABLE.len() - "=\0".len();

/// What a parent hands down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// A word that only the system knows to read.
    pub(crate) meant_for: String,
    pub(crate) objects: Vec<(String, HandleValue)>,
}

impl Manifest {
    /// The variable's value.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = format!("{VERSION} {}", self.meant_for);
        for (name, value) in &self.objects {
            write!(text, " {value}=").expect("a String takes all");
            push_encoded(&mut text, name);
        }
        if text.len() > LONGEST {
            return Err(Error::InvalidInput {
                input: format!("the names of {} objects to inherit", self.objects.len()),
                reason: format!("need {} characters, but only {LONGEST} fit; use shorter ones", text.len()),
            });
        }
        Ok(text)
    }

    /// What a parent has written; anything else is an error.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return Err(bad("is of another version of this crate, or not a manifest"));
        }
        let meant_for = words.next().filter(|word| !word.is_empty());
        let meant_for = meant_for.ok_or_else(|| bad("doesn't say whom it is meant for"))?.to_owned();
        let mut objects = Vec::new();
        for word in words {
            let (value, name) = word.split_once('=').ok_or_else(|| bad("has an object without a name"))?;
            let value: HandleValue = value.parse().map_err(|_| bad("has a value that can't be a handle"))?;
            let name = decoded(name).filter(|name| !name.is_empty());
            objects.push((name.ok_or_else(|| bad("has a name that can't be read"))?, value));
        }
        if repeats(objects.iter().map(|(name, _)| name)) {
            return Err(bad("has a name twice"));
        }
        // Each value is closed by whoever takes it; twice would close a stranger.
        if repeats(objects.iter().map(|(_, value)| value)) {
            return Err(bad("has a handle twice"));
        }
        Ok(Self { meant_for, objects })
    }
}

/// What is wrong with the variable.
pub(crate) fn bad(why: &'static str) -> Error {
    Error::InvalidManifest { name: VARIABLE, reason: why }
}

fn repeats<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.windows(2).any(|pair| pair[0] == pair[1])
}

fn push_encoded(text: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'%' => text.push_str("%25"),
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02x}").expect("a String takes all"),
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        match first {
            b'%' => {
                let (digits, more) = rest.split_at_checked(2)?;
                // The standard parser takes a sign.
                let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = more;
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

    fn manifest(names: &[&str]) -> Manifest {
        let value = |at: usize| HandleValue::try_from(4 + 4 * at).expect("a value");
        Manifest {
            meant_for: "256@1dc5b4a6f9d3e80".into(),
            objects: names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), value(at))).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() -> Result<()> {
        for names in [&[][..], &["ready"], &["a=b", "log file", "100%", "Ä🦀", "\n\t", "=", "%41"]] {
            let manifest = manifest(names);
            assert_eq!(Manifest::parse(&manifest.text()?)?, manifest);
        }
        assert_eq!(manifest(&["ready", "log file"]).text()?, "1 256@1dc5b4a6f9d3e80 4=ready 8=log%20file");
        Ok(())
    }

    #[test]
    fn a_thousand_objects_fit() -> Result<()> {
        let names: Vec<String> = (0..1000).map(|number| format!("object number {number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(Manifest::parse(&manifest(&names).text()?)?.objects.len(), 1000);
        let long = "n".repeat(LONGEST);
        let error = manifest(&[&long]).text().expect_err("too long").to_string();
        assert!(error.contains("use shorter ones"), "{error}");
        Ok(())
    }

    #[test]
    fn what_no_parent_writes_is_refused() {
        for (text, part) in [
            ("", "another version"),
            ("2 256@1", "another version"),
            ("1", "meant for"),
            ("1 ", "meant for"),
            ("1 256@1 ", "without a name"),
            ("1 256@1 68", "without a name"),
            ("1 256@1 68=", "can't be read"),
            ("1 256@1 68=%", "can't be read"),
            ("1 256@1 68=%4", "can't be read"),
            ("1 256@1 68=%+4", "can't be read"),
            ("1 256@1 68=%ff", "can't be read"),
            ("1 256@1 68=ä", "can't be read"),
            ("1 256@1 -1=a", "can't be a handle"),
            ("1 256@1 4294967295=a", "can't be a handle"),
            ("1 256@1 68=a 72=a", "a name twice"),
            ("1 256@1 68=a 68=b", "a handle twice"),
            ("1 256@1 68=a 0x44=b", "a handle twice"),
        ] {
            let error = Manifest::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_longest_text_fits_and_one_more_letter_does_not() -> Result<()> {
        let rest = manifest(&["n"]).text()?.len() - 1;
        let text = manifest(&[&"n".repeat(LONGEST - rest)]).text()?;
        assert_eq!(text.len(), LONGEST);
        assert!(manifest(&[&"n".repeat(LONGEST - rest + 1)]).text().is_err());
        Ok(())
    }
}
