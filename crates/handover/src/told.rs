//! Taking an object by the number under which another process put it into this one's table.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::sync::{Mutex, PoisonError};

use crate::inherit::is_waiting;
use crate::sys::{Moved, call, handle};
use crate::{Error, HandleValue, Kind, Object, Result};

/// The most bytes of a line that says a number. Ten digits are the most that a handle has; the rest is room to show
/// what came instead.
const LONGEST_LINE: u64 = 64;

/// The handles that this process had from its start and that somebody has taken: by number from the command line or
/// the environment, or by name from the manifest. One handle can be named in all three places.
static TAKEN: Mutex<BTreeSet<HandleValue>> = Mutex::new(BTreeSet::new());

/// Whether the handle is the caller's to take: the first who asks gets it.
pub(crate) fn claim(value: HandleValue) -> bool {
    // A panic can't leave a set of numbers half changed.
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(value)
}

/// Claims all of these handles, or none.
pub(crate) fn claim_all(values: &[HandleValue]) -> bool {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if values.iter().any(|value| taken.contains(value)) {
        return false;
    }
    taken.extend(values);
    true
}

/// Gives claimed handles back, because nobody has become their owner.
pub(crate) fn unclaim(values: &[HandleValue]) {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for value in values {
        taken.remove(value);
    }
}

/// A handle of this process whose number another process told it, to be [adopted](Self::adopt).
///
/// It is for peers that don't know this crate. Between programs that do, objects travel by name, and
/// [`inherited`](crate::inherited) takes them.
///
/// Whoever owns a handle closes it, and two owners close a stranger's. So a number alone is not enough to make an
/// owner of it: this type stands for the promise that the number came from another process, which made the handle for
/// this one. It can be had only from where other processes say things: the command line, the environment, standard
/// input. A handle that the first two name can be taken once, by number or by name; what standard input says is
/// taken each time, so the other process must not say a number twice.
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Event, Told};
///
/// let ready: Event = Told::argument(1)?.adopt()?;
/// ready.wait_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the handle stays open until it is adopted"]
#[doc(alias = "ULongToHandle", alias = "from_raw_fd")]
pub struct Told {
    value: HandleValue,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The command line or the environment. It was claimed.
    Start,
    /// Standard input.
    Line,
    /// Somebody who has promised that it is right.
    Promise,
}

impl Told {
    /// The number that stands on the command line in this place, counted from 1.
    ///
    /// # Errors
    ///
    /// [`Error::NotAHandle`] if it can't be a handle's, or there is none; [`Error::AlreadyTaken`] the second time.
    pub fn argument(place: usize) -> Result<Self> {
        let text = std::env::args_os().skip(1).nth(place.wrapping_sub(1));
        Self::once(format!("argument {place}"), text.as_deref())
    }

    /// The number that is the value of this environment variable.
    ///
    /// A process that this one starts gets a copy of the variable, and must not take it to be meant for itself:
    /// [`Command::env_remove`](crate::Command::env_remove) it.
    ///
    /// # Errors
    ///
    /// [`Error::NotAHandle`] if it can't be a handle's, or isn't set; [`Error::AlreadyTaken`] the second time.
    pub fn variable(name: &str) -> Result<Self> {
        Self::once(format!("variable {name}"), std::env::var_os(name).as_deref())
    }

    /// The number that is the next line of standard input. No more than that line is read, at most 64 bytes of it.
    ///
    /// It waits as long as the other process keeps the pipe open and says nothing: a read can't be told to end at a
    /// deadline. Call it on a thread of its own to have one.
    ///
    /// # Errors
    ///
    /// [`Error::NotAHandle`] if it can't be a handle's, is too long or is no text; [`Error::System`] if the input ends
    /// before the line does, or can't be read.
    pub fn line() -> Result<Self> {
        let failed = |source| Error::system(call::READ, "the line with a handle's number".into(), source);
        let mut line = Vec::new();
        // As std reads it: of what it has read ahead, nothing is read again.
        let read = call(call::READ, &[("from", "the standard input".into())], || {
            io::stdin().lock().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            Ok(Moved(&line))
        });
        read.map_err(failed)?;
        Ok(Self { value: value_of(&line)?, source: Source::Line })
    }

    /// A number that came by another way.
    ///
    /// # Safety
    ///
    /// It must be the value of a handle that another process put into this process's table, and nothing in this
    /// process may own it or come to own it otherwise.
    #[allow(unsafe_code, reason = "it only marks the promise; what needs it is in sys")]
    pub const unsafe fn new(value: HandleValue) -> Self {
        Self { value, source: Source::Promise }
    }

    fn once(source: String, text: Option<&OsStr>) -> Result<Self> {
        let Some(text) = text else {
            return Err(Error::NotAHandle { came: format!("no {source}"), why: "missing" });
        };
        let value: HandleValue = match text.to_str() {
            Some(text) => text.parse()?,
            None => return Err(Error::NotAHandle { came: format!("{text:?}"), why: "not a number" }),
        };
        if !claim(value) {
            return Err(Error::AlreadyTaken { name: source });
        }
        Ok(Self { value, source: Source::Start })
    }

    /// The number, to show.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.value
    }

    /// Makes this process the owner of the handle, as the type that is expected.
    ///
    /// Before anything is owned, the kernel is asked what the number refers to, and the handle loses its inherit flag,
    /// so that a process started from here doesn't get it by chance. The result closes the handle when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::NotOpen`] if the number is no handle of this process, [`Error::WrongKind`] if it refers to something
    /// else than expected, [`Error::NotYours`] if it is a standard stream, or on Linux another object of this process:
    /// nothing comes into a process there while it runs, so what it was told of has come with its start, and is as it
    /// came until it is taken. The handle then stays as it was.
    pub fn adopt<T: Object>(self) -> Result<T> {
        let value = self.value;
        let what = || format!("handle {value:#x}");
        let names = ["the standard input", "the standard output", "the standard error"];
        for (which, owner) in names.into_iter().enumerate() {
            let stream = handle::standard_stream(which)
                .map_err(|source| Error::on_handle(call::ASK_FOR_STREAM, owner.to_owned(), source))?;
            if stream.is_some_and(|stream| HandleValue::of(&stream).ok() == Some(value)) {
                return Err(Error::NotYours { value, owner });
            }
        }
        check_kind::<T>(handle::kind_of_value(value), what)?;
        // What was handed down by name, and waits to be taken, may have its number told too.
        let waits = || is_waiting(value) && (self.source == Source::Start || claim(value));
        if self.source != Source::Promise {
            let is_anybodys = handle::is_still_anybodys(value)
                .map_err(|source| Error::on_handle(call::ASK_FOR_FLAGS, what(), source))?;
            if !is_anybodys && !waits() {
                return Err(Error::NotYours { value, owner: "an object" });
            }
        }
        handle::clear_inheritable_of(value)
            .map_err(|source| Error::on_handle(call::SET_FLAGS, what(), source))?;
        Ok(own(value))
    }
}

/// What a line says, which has come with its end, unless the input has ended before or it was too long.
pub(crate) fn value_of(line: &[u8]) -> Result<HandleValue> {
    let came = || format!("{:?}", String::from_utf8_lossy(line));
    let Some(text) = line.strip_suffix(b"\n") else {
        if line.len() as u64 == LONGEST_LINE {
            return Err(Error::NotAHandle { came: came(), why: "a line without an end" });
        }
        let why = format!("standard input ended after {}", came());
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
    };
    match std::str::from_utf8(text.strip_suffix(b"\r").unwrap_or(text)) {
        Ok(text) => text.parse(),
        Err(_) => Err(Error::NotAHandle { came: came(), why: "not a number" }),
    }
}

fn failed(source: io::Error) -> Error {
    Error::System { call: call::READ, what: "the line with a handle's number".into(), source }
}

/// Refuses a handle of this process that refers to something else than what `T` can own.
pub(crate) fn check_kind<T: Object>(asked: io::Result<Kind>, what: impl Fn() -> String) -> Result<()> {
    let found = asked.map_err(|source| Error::on_handle(call::ASK_FOR_KIND, what(), source))?;
    match T::KIND {
        Some(expected) if found != expected => Err(Error::WrongKind { what: what(), expected, found }),
        _ => Ok(()),
    }
}

/// Owns a handle that was checked and that another process made for this one.
pub(crate) fn own<T: Object>(value: HandleValue) -> T {
    T::from_handle(handle::own(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_claimed_together_or_not_at_all() -> Result<()> {
        // Numbers so high that no handle of this process has them.
        let value = |number: u64| HandleValue::try_from(0x7fff_f000 + number * 4);
        let [one, two, three] = [value(0)?, value(1)?, value(2)?];
        assert!(claim_all(&[one, two]));
        assert!(!claim(one) && !claim(two));
        assert!(!claim_all(&[three, two]));
        assert!(claim(three), "nothing was claimed with what somebody has");
        unclaim(&[two, three]);
        assert!(claim_all(&[three, two]));
        assert!(!claim(one), "nobody has given it back");
        unclaim(&[one, two, three]);
        Ok(())
    }
}
