//! What a call did to handle tables, as a recording says it: `+0xc@272=0x30 -0x40`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A handle as a call names it: its number, and the process if it isn't the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) value: u64,
    pub(crate) process: Option<u32>,
}

/// One thing that a call did to a handle table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A handle was opened, for the object behind another handle if it is a copy.
    Opened { at: Place, copy_of: Option<Place> },
    /// A handle was closed.
    Closed { at: Place },
}

/// All that one call did to handle tables, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects(pub(crate) Vec<Effect>);

impl Place {
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
            return Some(Self::Closed { at: Place::parse(at)? });
        }
        let opened = text.strip_prefix('+')?;
        match opened.split_once('=') {
            Some((at, from)) => {
                Some(Self::Opened { at: Place::parse(at)?, copy_of: Some(Place::parse(from)?) })
            }
            None => Some(Self::Opened { at: Place::parse(opened)?, copy_of: None }),
        }
    }
}

impl FromStr for Effects {
    /// What is wrong with the text.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read =
            |word| Effect::parse(word).ok_or_else(|| format!("{word:?} is no effect on a handle table"));
        text.split_whitespace().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// A handle's number as people write it: in hex with `0x`, or in decimal.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        // A sign would be taken by `parse`.
        None if text.starts_with(|first: char| first.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

impl fmt::Display for Place {
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
    fn an_effect_is_read_and_written() {
        for text in ["", "+0x30", "+0xc@272=0x30", "-0x40 -0x4@2302", "+0x50 +0x40@256=0x40@12"] {
            assert_eq!(text.parse().map(|effects: Effects| effects.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_effect_is_named() {
        for wrong in ["0x30", "+", "+-3", "+0x", "-0x4@", "+0x3=", "+0x3@x", "+0x10000000000000000", "é"] {
            let error = format!("+0x4 {wrong} -0x4").parse::<Effects>().expect_err(wrong);
            assert!(error.contains(wrong), "{error}");
        }
    }
}
