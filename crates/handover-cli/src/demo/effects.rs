//! Parses and writes the changes that a call made to handle tables, in the form of a recording: `+0xc@272=0x30 -0x40`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A reference to a handle: its value, and its process if that is not the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandleRef {
    pub(crate) value: u64,
    pub(crate) process: Option<u32>,
}

/// A change to a handle table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A handle was opened. If it is a copy, it refers to the same object as `copy_of`.
    Opened { at: HandleRef, copy_of: Option<HandleRef> },
    /// A handle was closed.
    Closed { at: HandleRef },
}

/// All changes that one call made to handle tables, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects(pub(crate) Vec<Effect>);

impl HandleRef {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('@') {
            Some((value, process)) => {
                Some(Self { value: number(value)?, process: Some(process.parse().ok()?) })
            }
            None => Some(Self { value: number(text)?, process: None }),
        }
    }
}

impl Effect {
    fn parse(text: &str) -> Option<Self> {
        if let Some(at) = text.strip_prefix('-') {
            return Some(Self::Closed { at: HandleRef::parse(at)? });
        }
        let opened = text.strip_prefix('+')?;
        match opened.split_once('=') {
            Some((at, from)) => {
                Some(Self::Opened { at: HandleRef::parse(at)?, copy_of: Some(HandleRef::parse(from)?) })
            }
            None => Some(Self::Opened { at: HandleRef::parse(opened)?, copy_of: None }),
        }
    }
}

impl FromStr for Effects {
    /// The error message, which contains the invalid part.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse =
            |word| Effect::parse(word).ok_or_else(|| format!("{word:?} is not a change to a handle table"));
        text.split_whitespace().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Parses a handle value in hex with `0x`, or in decimal.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        // `parse` would accept a plus sign.
        None if text.starts_with(|first: char| first.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

impl fmt::Display for HandleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        self.process.map_or(Ok(()), |process| write!(f, "@{process}"))
    }
}

impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, effect) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " " })?;
            match effect {
                Effect::Opened { at, copy_of: None } => write!(f, "+{at}")?,
                Effect::Opened { at, copy_of: Some(from) } => write!(f, "+{at}={from}")?,
                Effect::Closed { at } => write!(f, "-{at}")?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Effects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_written_as_they_were_parsed() {
        for text in ["", "+0x30", "+0xc@272=0x30", "-0x40 -0x4@2302", "+0x50 +0x40@256=0x40@12"] {
            assert_eq!(text.parse().map(|effects: Effects| effects.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn parse_error_names_the_invalid_part() {
        for wrong in ["0x30", "+", "+-3", "+0x", "-0x4@", "+0x3=", "+0x3@x", "+0x10000000000000000", "é"] {
            let error = format!("+0x4 {wrong} -0x4").parse::<Effects>().expect_err(wrong);
            assert!(error.contains(wrong), "{error}");
        }
    }
}
