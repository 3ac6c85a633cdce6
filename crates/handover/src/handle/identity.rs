//! What identifies a process.

use std::fmt;

use super::InvalidIdentity;

/// What identifies a process on this machine until it is started anew: its id and when it was created. The id alone
/// is given again.
///
/// It is text that one process can tell another, `264@1dc5b4a6f9d3e80`: the id, and the time in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProcessIdentity {
    /// The process's id.
    pub id: u32,
    /// When it was created, as the system counts it: on Windows in units of 100 ns since the year 1601, on Linux in
    /// clock ticks since the machine was started.
    pub created: u64,
}

impl ProcessIdentity {
    pub(crate) const fn new(id: u32, created: u64) -> Self {
        Self { id, created }
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:x}", self.id, self.created)
    }
}

impl ProcessIdentity {
    /// Reads the text that `Display` writes.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidIdentity> {
        // The standard parsers take a sign.
        let unsigned = |part: &str| !part.starts_with('+');
        let parsed = text.split_once('@').filter(|(id, created)| unsigned(id) && unsigned(created)).and_then(
            |(id, created)| {
                Some(Self { id: id.parse().ok()?, created: u64::from_str_radix(created, 16).ok()? })
            },
        );
        parsed.ok_or_else(|| InvalidIdentity { input: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_prints_and_nothing_else() -> Result<(), InvalidIdentity> {
        let identity = ProcessIdentity::new(264, 0x1dc_5b4a_6f9d_3e80);
        assert_eq!(identity.to_string(), "264@1dc5b4a6f9d3e80");
        assert_eq!(ProcessIdentity::parse(&identity.to_string())?, identity);
        for text in ["", "264", "@", "264@", "@1", "-1@1", "+1@1", "1@+1", "1@g", "1@1@1", "99999999999@1"] {
            assert_eq!(ProcessIdentity::parse(text), Err(InvalidIdentity { input: text.into() }));
        }
        Ok(())
    }
}
