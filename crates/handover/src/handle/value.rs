//! A handle's number, as one process tells it to another.

use std::fmt;

use super::range::objection;

/// The index of a handle in some process's handle table: the number that one process tells another.
///
/// It is only a number. It can't be closed or waited on, and it means nothing outside the process whose table it
/// indexes; that process makes an object of it by [`adopt`](Self::adopt). Only values that a table can hold are
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

    /// Checks that a handle table can have this index.
    pub(crate) fn new(number: u64) -> Result<Self, InvalidValue> {
        Self::checked(number, || format!("{number:#x}"))
    }

    fn checked(number: u64, input: impl FnOnce() -> String) -> Result<Self, InvalidValue> {
        match (objection(number), u32::try_from(number)) {
            (None, Ok(value)) => Ok(Self(value)),
            (reason, _) => {
                Err(InvalidValue { input: input(), reason: reason.unwrap_or("more than 32 bits") })
            }
        }
    }

    /// Reads decimal digits, or hexadecimal ones after `0x`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidValue> {
        let input = || format!("{:?}", shortened(text));
        let refused = |reason| InvalidValue { input: input(), reason };
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
        Self::checked(number, input)
    }
}

/// A number or text that can't be a handle value; it becomes [`Error::InvalidHandleValue`](crate::Error).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidValue {
    pub(crate) input: String,
    pub(crate) reason: &'static str,
}

/// A text that can't be a process identity; it becomes [`Error::InvalidInput`](crate::Error).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidIdentity {
    pub(crate) input: String,
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
        let InvalidValue { input, reason } = HandleValue::parse(text).expect_err(text);
        assert!(input.contains(&text[..text.len().min(10)]), "{input} does not show {text}");
        reason
    }

    #[test]
    fn a_table_index_is_read_in_decimal_and_in_hex() -> Result<(), InvalidValue> {
        for (text, number) in
            [("4", 4), ("68", 68), ("0x44", 68), ("0X4c", 76), ("0x4C", 76), ("2147483644", 0x7fff_fffc)]
        {
            assert_eq!(HandleValue::parse(text)?.get(), number, "{text}");
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
        let error = HandleValue::parse(&"é".repeat(10_000)).expect_err("accepted");
        assert!(error.input.len() < 100, "{error:?}");
    }

    #[test]
    fn it_prints_what_it_reads() -> Result<(), InvalidValue> {
        for number in [4_u64, 68, 0x1000, 0x7fff_fffc] {
            let value = HandleValue::new(number)?;
            assert_eq!(HandleValue::parse(&value.to_string())?, value);
            assert_eq!(HandleValue::parse(&format!("{value:#x}"))?, value);
            assert_eq!(format!("{value:?}"), format!("{number:#x}"));
        }
        Ok(())
    }
}
