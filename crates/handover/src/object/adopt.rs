//! Turns handle values that another process passed to this one into objects. Each handle gets one owner.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind::WouldBlock;
use std::io::{self, BufRead, Read};
use std::time::Duration;

use super::imp::PEERS_CAN_ADD_HANDLES;
use super::{Object, expected_instead_of};
use crate::error::{Error, MISSING, Result};
use crate::handle::{HandleValue, InvalidValue, ObjectKind};
use crate::sys::io::{AsHandle, HasHandle, Owned};
use crate::sys::mutex::{Mutex, MutexGuard};
use crate::sys::value::number_of;
use crate::sys::{Moved, SysError, SysResult, call, handle};

/// The maximum number of bytes that `from_stdin` reads. A handle value has at most ten digits; the other bytes show
/// invalid input in the error.
const MAX_LINE: u64 = 64;
/// How long to wait before reading a non-blocking standard input again.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

static ADOPTION: Mutex<Adoption> = Mutex::new(Adoption { waiting: Vec::new(), marks: BTreeSet::new() });

/// The mark of a handle that an object of this process owns. It is removed when the object's [`Claim`] is dropped.
const OWNED: u64 = 0;
/// The mark of a handle that was adopted by its number while it was inheritable.
const BY_NUMBER: u64 = 1;

/// The handles that other processes made for this one. One lock covers each handle from its check to its owner.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// The handles that were inherited by name and not taken yet, sorted by their values. This list owns them.
    waiting: Vec<(HandleValue, Owned)>,
    /// The values of handles, each with a mark. The type is the one of a `WaitSet`'s members, so that a program has
    /// the code of one tree.
    marks: BTreeSet<(u64, u64)>,
}

impl Adoption {
    pub(crate) fn lock() -> MutexGuard<'static, Self> {
        ADOPTION.lock()
    }

    /// Returns whether the handle has been adopted by its number. Then it can't be taken by its name.
    pub(crate) fn was_adopted_by_number(&self, value: HandleValue) -> bool {
        self.has_mark(value, BY_NUMBER)
    }

    /// Makes this process the owner of an inherited handle, which can then be taken by its name.
    pub(crate) fn keep(&mut self, value: HandleValue) -> SysResult<()> {
        if !self.was_adopted_by_number(value) && !self.is_waiting(value) {
            // The first attempt may have been made some time ago, and other code may own the value by now.
            if !handle::is_open_and_inheritable(value)? {
                return Err(SysError::unexpected(
                    call::INHERIT_FLAG,
                    "its inherit flag has been cleared meanwhile",
                ));
            }
            handle::clear_inheritable_of(value)?;
            self.keep_owned(value, handle::own(value));
        }
        Ok(())
    }

    /// Returns a handle that can be taken by its name.
    pub(crate) fn waiting(&self, value: HandleValue) -> Option<&Owned> {
        self.place(value).ok().map(|index| &self.waiting[index].1)
    }

    /// Returns whether the handle can still be taken by its name.
    pub(crate) fn is_waiting(&self, value: HandleValue) -> bool {
        self.place(value).is_ok()
    }

    /// Takes a waiting handle, if its object has the kind of `T`. Returns `None` if the handle isn't waiting.
    pub(crate) fn take<T: Object>(
        &mut self,
        value: HandleValue,
        described: impl Fn() -> String,
    ) -> Result<Option<Adopted>> {
        let Some(handle) = self.waiting(value) else { return Ok(None) };
        check_kind(handle::kind_of_owned(handle), T::KIND, &described)?;
        T::check(value, &described)?;
        Ok(self.take_handle(value).map(|handle| Adopted { handle, claim: self.claim(value) }))
    }

    /// Adopts a handle by its number, if its object has the kind of `T`.
    fn adopt<T: Object>(&mut self, value: HandleValue) -> Result<Adopted> {
        let described = || format!("handle {}", value.for_people());
        if let Some(adopted) = self.take::<T>(value, described)? {
            return Ok(adopted);
        }
        let taken = || Error::AlreadyTaken { object: described() };
        if self.has_mark(value, OWNED) {
            return Err(taken());
        }
        check_kind(handle::kind_of_value(value), T::KIND, &described)?;
        T::check(value, &described)?;
        let failed = |error| Error::on_handle(described(), error);
        let is_inherited = handle::is_open_and_inheritable(value).map_err(failed)?;
        if !is_inherited && !PEERS_CAN_ADD_HANDLES && self.was_adopted_by_number(value) {
            return Err(taken());
        }
        handle::clear_inheritable_of(value).map_err(failed)?;
        if is_inherited {
            self.marks.insert((value.get().into(), BY_NUMBER));
        }
        Ok(Adopted { handle: handle::own(value), claim: self.claim(value) })
    }

    /// Takes a waiting handle without checking its kind.
    pub(crate) fn take_handle(&mut self, value: HandleValue) -> Option<Owned> {
        self.place(value).ok().map(|index| self.waiting.remove(index).1)
    }

    /// Adds a handle of this process to the waiting ones.
    pub(crate) fn keep_owned(&mut self, value: HandleValue, handle: Owned) {
        match self.place(value) {
            Ok(index) => self.waiting[index].1 = handle,
            Err(index) => self.waiting.insert(index, (value, handle)),
        }
    }

    fn claim(&mut self, value: HandleValue) -> Claim {
        self.marks.insert((value.get().into(), OWNED));
        Claim(value)
    }

    fn has_mark(&self, value: HandleValue, mark: u64) -> bool {
        self.marks.contains(&(value.get().into(), mark))
    }

    /// Returns the index of a waiting handle, or the one at which it would be inserted.
    fn place(&self, value: HandleValue) -> std::result::Result<usize, usize> {
        self.waiting.binary_search_by(|(waiting, _)| waiting.cmp(&value))
    }
}

/// A handle that this process now owns, and the claim on its value.
#[derive(Debug)]
pub(crate) struct Adopted {
    handle: Owned,
    claim: Claim,
}

impl Adopted {
    /// Creates the object; the kind has already been checked.
    ///
    /// The caller must not hold the lock of [`Adoption`], because dropping a [`Claim`] acquires it.
    pub(crate) fn into_object<T: Object>(self) -> T {
        T::from_adopted(self.handle, self.claim)
    }
}

/// A record that a handle value has an owner in this process. Dropping it lets the value be adopted again, because the
/// system may reuse the value for another handle.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "it is in the signature of a public trait that other crates can't name")]
pub struct Claim(HandleValue);

impl Claim {
    /// Keeps or removes the record of a handle whose new owner is one of std's types. This crate doesn't see when that
    /// owner closes the handle.
    ///
    /// On Linux other processes can't add handles to this one, so the record stays. On Windows they can, with any free
    /// value, so the record is removed at once.
    pub(crate) fn of_std_owner(self) {
        if !PEERS_CAN_ADD_HANDLES {
            std::mem::forget(self);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        Adoption::lock().marks.remove(&(self.0.get().into(), OWNED));
    }
}

impl HandleValue {
    /// Returns the value of a handle of this process. Use it to print the value, or to pass it to a process that may
    /// duplicate the handle from this one.
    ///
    /// The caller keeps the handle.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHandleValue`] for NULL, `INVALID_HANDLE_VALUE` and the pseudo handles, which std's Windows
    /// handle types can hold.
    #[doc(alias = "HandleToULong")]
    #[inline]
    pub fn of(handle: &impl AsHandle) -> Result<Self> {
        Ok(Self::new(number_of(handle.handle()))?)
    }

    /// Reads the handle value from a command-line argument; argument 1 is the first after the program's name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHandleValue`] if the argument is missing or can't be a handle value.
    pub fn from_arg(index: usize) -> Result<Self> {
        let text = index.checked_sub(1).and_then(|index| std::env::args_os().skip(1).nth(index));
        Self::from_text(&format!("argument {index}"), text.as_deref())
    }

    /// Reads the handle value from an environment variable.
    ///
    /// Children of this process inherit the variable, but not the handle. Remove the variable from their environment
    /// with [`Command::env_remove`](crate::Command::env_remove).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHandleValue`] if the variable isn't set or can't be a handle value.
    pub fn from_env(name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        Self::from_text(&format!("environment variable {name:?}"), std::env::var_os(name).as_deref())
    }

    /// Reads the handle value from the next line of standard input. The call consumes at most that line, and at most 64
    /// bytes.
    ///
    /// The call blocks while the other process keeps the pipe open and writes nothing, because a read of standard input
    /// can't have a timeout. To limit the wait, call it on a separate thread.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHandleValue`] if the line can't be a handle value; [`Error::System`] if standard input reaches
    /// its end of file before the line ends, or can't be read.
    pub fn from_stdin() -> Result<Self> {
        let mut line = Vec::new();
        // std buffers more input than this line; the buffer keeps it for the next reader of `io::stdin`.
        let read = call(call::READ, &[("from", "the standard input".into())], || {
            loop {
                let room = MAX_LINE.saturating_sub(line.len() as u64);
                match io::stdin().lock().take(room).read_until(b'\n', &mut line) {
                    // A read of nothing isn't the end of a pipe on Windows.
                    Ok(_) if !is_complete(&line) && handle::input_goes_on() => {
                        std::thread::sleep(RETRY_INTERVAL);
                    }
                    Ok(_) => return Ok(Moved(&line)),
                    // Another process, which has the same pipe, has made it non-blocking. A part of the line that has
                    // arrived must not be lost: the rest of it could be another handle's value.
                    Err(error) if error.kind() == WouldBlock => std::thread::sleep(RETRY_INTERVAL),
                    Err(error) => return Err(error),
                }
            }
        });
        read.map_err(|error| Error::system(LINE, error))?;
        value_in_line(&line)
    }

    fn from_text(source: &str, text: Option<&OsStr>) -> Result<Self> {
        let missing = || Error::InvalidHandleValue { input: source.to_owned(), reason: MISSING };
        let text = text.ok_or_else(missing)?;
        let text = text.to_str().ok_or_else(|| Error::InvalidHandleValue {
            input: format!("{source}, {text:?},"),
            reason: "not a number",
        })?;
        Self::parse(text).map_err(|InvalidValue { input, reason }| Error::InvalidHandleValue {
            input: format!("{source}, {input},"),
            reason,
        })
    }

    /// Makes this process the owner of the handle with this value, as an object of type `T`.
    ///
    /// Use it if another process passes only a number: on the command line ([`from_arg`](Self::from_arg)), in the
    /// environment ([`from_env`](Self::from_env)), or through a pipe ([`from_stdin`](Self::from_stdin)). Between
    /// programs that use this crate, pass objects by name instead: [`inherited`](crate::inherited) takes them without
    /// `unsafe`.
    ///
    /// `adopt` asks the kernel for the object's kind before it takes ownership. It clears the handle's inherit flag, so
    /// that children of this process don't inherit it. Dropping the result closes the handle.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use handover::{Event, HandleValue};
    ///
    /// let value = HandleValue::from_arg(1)?;
    /// // SAFETY: the parent made this handle for this process and passed its value. No other code of this process
    /// // owns it.
    /// let ready: Event = unsafe { value.adopt() }?;
    /// ready.wait_timeout(Duration::from_secs(5))?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// - Another process must have made the handle for this one, by inheritance or duplication. The number alone
    ///   doesn't prove that: another handle of this process may have the same number.
    /// - No other code of this process may own the handle, now or later. With two owners, the second close may hit an
    ///   unrelated handle.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHandle`] if no handle has this value; [`Error::WrongKind`] if the object has another kind;
    /// [`Error::HandleInUse`] if it is a standard stream; [`Error::AlreadyTaken`] if the handle was adopted before, or
    /// taken by its name. After an error the handle is unchanged.
    #[doc(alias = "ULongToHandle", alias = "from_raw_fd", alias = "from_raw_handle")]
    #[allow(unsafe_code, reason = "the unsafe code that relies on the caller's promise is in sys")]
    pub unsafe fn adopt<T: Object>(self) -> Result<T> {
        for (which, owner) in STREAMS.into_iter().enumerate() {
            let stream = handle::standard_stream(which).map_err(|error| Error::on_handle(owner, error))?;
            if stream.is_some_and(|stream| Self::of(&stream).ok() == Some(self)) {
                return Err(Error::HandleInUse { value: self, owner });
            }
        }
        let adopted = Adoption::lock().adopt::<T>(self)?;
        Ok(adopted.into_object())
    }
}

const STREAMS: [&str; 3] = ["the standard input", "the standard output", "the standard error"];
const LINE: &str = "a handle value on standard input";

fn is_complete(line: &[u8]) -> bool {
    line.ends_with(b"\n") || line.len() as u64 == MAX_LINE
}

/// Parses a line with a handle value. The line must end with a line feed.
pub(crate) fn value_in_line(line: &[u8]) -> Result<HandleValue> {
    let input = || format!("the line {:?} on standard input", String::from_utf8_lossy(line));
    let Some(text) = line.strip_suffix(b"\n") else {
        if line.len() as u64 == MAX_LINE {
            return Err(Error::InvalidHandleValue { input: input(), reason: "too long" });
        }
        let reason = match line {
            [] => "it ended without data".to_owned(),
            _ => {
                format!("it ended after {:?}, without a line feed", String::from_utf8_lossy(line))
            }
        };
        let reason = format!("{reason}; the process that passes the value must write it and a line feed");
        let source = io::Error::new(io::ErrorKind::UnexpectedEof, reason);
        return Err(Error::System { call: call::READ, context: LINE.into(), source });
    };
    match std::str::from_utf8(text.strip_suffix(b"\r").unwrap_or(text)) {
        Ok(text) => HandleValue::parse(text).map_err(|InvalidValue { input, reason }| {
            Error::InvalidHandleValue { input: format!("the line {input} on standard input"), reason }
        }),
        Err(_) => Err(Error::InvalidHandleValue { input: input(), reason: "not a number" }),
    }
}

/// Returns an error if a type of this kind can't own an object of the kind that was found.
pub(crate) fn check_kind(
    found: SysResult<ObjectKind>,
    kind: Option<ObjectKind>,
    described: &dyn Fn() -> String,
) -> Result<()> {
    let found = found.map_err(|error| Error::on_handle(described(), error))?;
    match expected_instead_of(kind, &found) {
        Some(expected) => Err(Error::WrongKind { object: described(), expected, found }),
        None => Ok(()),
    }
}
