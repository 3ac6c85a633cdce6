//! A handle's number, as one process tells it to another.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::sys::io::{AsHandle, HasHandle};
use crate::sys::value::{number_of, objection};

/// The index of a handle in some process's handle table: the number that one process tells another.
///
/// It is only a number. It can't be closed or waited on, and it means nothing outside the process whose table it
/// indexes; that process makes an object of it by [`Told`](crate::Told). Only values that a table can hold are
/// representable; others are errors from the start, so that none of them can reach a system call that takes it for
/// something else:
///
/// - On Windows, multiples of four from 4 to 0x7ffffffc. NULL, `INVALID_HANDLE_VALUE`, the pseudo handles (-1 is the
///   current process, -2 the current thread, and so on to -12) and values over 32 bits are none. Handles are 32 bits
///   wide in 64-bit processes too
///   ([Interprocess communication](https://learn.microsoft.com/windows/win32/winprog64/interprocess-communication)).
/// - On Linux, the numbers of file descriptors, from 0 to 2147483647. -1, which stands for none, and `AT_FDCWD` (-100)
///   are none.
///
/// It is written in decimal and read in decimal or in hex with `0x`:
///
/// ```
/// use handover::HandleValue;
///
/// let value: HandleValue = "0x44".parse()?;
/// assert_eq!(value, "68".parse()?);
/// assert_eq!(value.to_string(), "68");
/// assert!("-1".parse::<HandleValue>().is_err());
/// # Ok::<(), handover::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleValue(u32);

impl HandleValue {
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The value of a handle of this process: what to show, or to tell another process that is allowed to take the
    /// object from here.
    ///
    /// # Errors
    ///
    /// [`Error::NotAHandle`] for NULL, `INVALID_HANDLE_VALUE` and the pseudo handles, all of which Windows' own types can
    /// hold.
    #[doc(alias = "HandleToULong")]
    pub fn of(handle: &impl AsHandle) -> Result<Self, Error> {
        Self::try_from(number_of(handle.handle()))
    }

    fn checked(number: u64, came: impl FnOnce() -> String) -> Result<Self, Error> {
        match (objection(number), u32::try_from(number)) {
            (None, Ok(value)) => Ok(Self(value)),
            (why, _) => Err(Error::NotAHandle { came: came(), why: why.unwrap_or("more than 32 bits") }),
        }
    }
}

impl TryFrom<u64> for HandleValue {
    type Error = Error;

    fn try_from(number: u64) -> Result<Self, Error> {
        Self::checked(number, || format!("{number:#x}"))
    }
}

impl TryFrom<usize> for HandleValue {
    type Error = Error;

    fn try_from(number: usize) -> Result<Self, Error> {
        // A 32-bit process's INVALID_HANDLE_VALUE is 32 bits of ones, which the check knows too.
        Self::try_from(number as u64)
    }
}

impl FromStr for HandleValue {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let came = || format!("{:?}", shortened(text));
        let refused = |why| Error::NotAHandle { came: came(), why };
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => (hex, 16),
            None => (text, 10),
        };
        // The standard parsers take a sign; a handle has none.
        if digits.is_empty() {
            return Err(refused("no number"));
        }
        if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit())) {
            return Err(refused("negative"));
        }
        if !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Err(refused("not a number"));
        }
        let number = u64::from_str_radix(digits, radix).map_err(|_| refused("more than 32 bits"))?;
        Self::checked(number, came)
    }
}

/// What came, short enough for a line on a terminal.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

impl fmt::Display for HandleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::LowerHex for HandleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl fmt::Debug for HandleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> &'static str {
        match text.parse::<HandleValue>() {
            Err(Error::NotAHandle { why, came }) => {
                assert!(came.contains(&text[..text.len().min(10)]), "{came} does not show {text}");
                why
            }
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_table_index_is_read_in_decimal_and_in_hex() -> Result<(), Error> {
        for (text, number) in
            [("4", 4), ("68", 68), ("0x44", 68), ("0X4c", 76), ("0x4C", 76), ("2147483644", 0x7fff_fffc)]
        {
            assert_eq!(text.parse::<HandleValue>()?.get(), number, "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_number_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no number"),
            ("0x", "no number"),
            ("event", "not a number"),
            ("68 ", "not a number"),
            (" 68", "not a number"),
            ("68x", "not a number"),
            ("+68", "not a number"),
            ("0x+4", "not a number"),
            ("0x-4", "not a number"),
            ("٦٨", "not a number"),
            ("6.8", "not a number"),
            ("44h", "not a number"),
            ("-4", "negative"),
            ("-1", "negative"),
            ("--help", "not a number"),
            ("99999999999999999999999", "more than 32 bits"),
        ] {
            assert_eq!(why(text), reason, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_in_the_message() {
        let Err(error) = "é".repeat(10_000).parse::<HandleValue>() else { panic!("accepted") };
        assert!(error.to_string().len() < 300, "{error}");
    }

    #[test]
    fn it_prints_what_it_reads() -> Result<(), Error> {
        for number in [4_u64, 68, 0x1000, 0x7fff_fffc] {
            let value = HandleValue::try_from(number)?;
            assert_eq!(value.to_string().parse::<HandleValue>()?, value);
            assert_eq!(format!("{value:#x}").parse::<HandleValue>()?, value);
            assert_eq!(format!("{value:?}"), format!("{number:#x}"));
        }
        Ok(())
    }
}
