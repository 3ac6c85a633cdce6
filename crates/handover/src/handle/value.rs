//! The value of a handle: the number that one process passes to another.

use std::fmt;

use super::range::{HEX_TOO, objection};

/// A handle value: the index of a handle in the handle table of one process.
///
/// Use it to pass a handle's number to another process, or to read such a number. A handle value is only a number. It
/// owns nothing, can't be waited on, and means nothing outside the process whose table it indexes. That process turns
/// it into an object with [`adopt`](Self::adopt), which makes the process the handle's owner.
///
/// A `HandleValue` always lies in the range that a handle table can have. Other numbers are errors when they are parsed
/// or converted, because system calls give some of them a special meaning.
///
/// - On Windows, valid values are multiples of four from 4 to 0x7ffffffc. NULL, `INVALID_HANDLE_VALUE`, the pseudo
///   handles (-1 is the current process, -2 the current thread, and so on to -12) and values over 32 bits are invalid.
///   Handle values have 32 significant bits in 64-bit processes too
///   ([Interprocess communication](https://learn.microsoft.com/windows/win32/winprog64/interprocess-communication)).
/// - On Linux, valid values are file descriptors from 0 to 2147483647. -1, which means no descriptor, and `AT_FDCWD`
///   (-100), which means the current directory, are invalid.
///
/// `Display` writes a value in decimal. `FromStr` reads decimal digits, or hex digits after `0x`:
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
    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Creates a handle value, if the number is in the valid range.
    #[inline]
    pub(crate) fn new(number: u64) -> Result<Self, InvalidValue> {
        Self::checked(number, || number_for_people(number).to_string())
    }

    #[inline]
    fn checked(number: u64, input: impl FnOnce() -> String) -> Result<Self, InvalidValue> {
        match (objection(number), u32::try_from(number)) {
            (None, Ok(value)) => Ok(Self(value)),
            (reason, _) => {
                Err(InvalidValue { input: input(), reason: reason.unwrap_or("more than 32 bits") })
            }
        }
    }

    /// Appends the decimal digits. A list of many objects takes less time so than with a formatter.
    pub(crate) fn push_to(self, text: &mut String) {
        let mut digits = [0; 10];
        let (mut first, mut rest) = (digits.len(), self.0);
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        text.push_str(std::str::from_utf8(&digits[first..]).expect("digits are ASCII"));
    }

    /// Returns the value as all errors of this crate show it: in decimal, and on Windows also in hex, because Windows
    /// tools show handle values in hex.
    pub(crate) fn for_people(self) -> impl fmt::Display {
        number_for_people(self.0.into())
    }

    /// Parses decimal digits, or hex digits after `0x`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidValue> {
        let input = || format!("{:?}", shortened(text));
        let refused = |reason| InvalidValue { input: input(), reason };
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => (hex, 16),
            None => (text, 10),
        };
        // std's parsers also accept a sign, so the checks below refuse one first.
        if digits.is_empty() {
            return Err(refused("no digits"));
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

/// Returns the number as [`HandleValue::for_people`] shows it.
pub(crate) fn number_for_people(number: u64) -> impl fmt::Display {
    if HEX_TOO { format!("{number} ({number:#x})") } else { number.to_string() }
}

/// Cuts a text to 40 characters, so that an error message fits on a line of a terminal.
pub(crate) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 40;
    match text.char_indices().nth(MAX_CHARS) {
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

    fn reason_for(text: &str) -> &'static str {
        let InvalidValue { input, reason } = HandleValue::parse(text).expect_err(text);
        assert!(input.contains(&text[..text.len().min(10)]), "{input} does not show {text}");
        reason
    }

    #[test]
    fn parse_reads_decimal_and_hex() -> Result<(), InvalidValue> {
        for (text, number) in
            [("4", 4), ("68", 68), ("0x44", 68), ("0X4c", 76), ("0x4C", 76), ("2147483644", 0x7fff_fffc)]
        {
            assert_eq!(HandleValue::parse(text)?.get(), number, "{text}");
        }
        Ok(())
    }

    #[test]
    fn parse_gives_the_reason_for_each_invalid_text() {
        for (text, reason) in [
            ("", "no digits"),
            ("0x", "no digits"),
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
            assert_eq!(reason_for(text), reason, "{text:?}");
        }
    }

    #[test]
    fn parse_shortens_a_long_text_in_its_error() {
        let error = HandleValue::parse(&"é".repeat(10_000)).expect_err("accepted");
        assert!(error.input.len() < 100, "{error:?}");
    }

    #[test]
    fn push_to_appends_what_display_writes() -> Result<(), InvalidValue> {
        for number in [4_u64, 8, 100, 1_000, 65_536, 999_999_996, 1_000_000_000, 0x7fff_fffc] {
            let value = HandleValue::new(number)?;
            let mut text = "at ".to_owned();
            value.push_to(&mut text);
            assert_eq!(text, format!("at {value}"));
        }
        Ok(())
    }

    #[test]
    fn parse_reads_the_text_that_display_and_hex_write() -> Result<(), InvalidValue> {
        for number in [4_u64, 68, 0x1000, 0x7fff_fffc] {
            let value = HandleValue::new(number)?;
            assert_eq!(HandleValue::parse(&value.to_string())?, value);
            assert_eq!(HandleValue::parse(&format!("{value:#x}"))?, value);
            assert_eq!(format!("{value:?}"), format!("{number:#x}"));
        }
        Ok(())
    }
}
