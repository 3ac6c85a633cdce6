//! The identity of a process: its id, and a number that no other process with that id has.

use std::fmt;

use super::InvalidIdentity;

/// A process's id and a second number, which together identify it until this machine restarts.
///
/// A bare process id can be reused for another process after the first one has exited.
///
/// [`Display`](fmt::Display) and [`FromStr`](std::str::FromStr) convert an identity to and from text, so that it can be
/// passed to another process. `264@1dc5b4a6f9d3e80` has the id in decimal and the second number in hex.
///
/// ```
/// use handover::ProcessIdentity;
///
/// let identity: ProcessIdentity = "264@1dc5b4a6f9d3e80".parse()?;
/// assert_eq!(identity.id, 264);
/// assert_eq!(identity.to_string(), "264@1dc5b4a6f9d3e80");
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [GetProcessTimes](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesstimes);
/// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html);
/// `starttime` in [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProcessIdentity {
    /// The process id.
    pub id: u32,
    /// The number by which the system distinguishes processes that have had the same id: on Windows the creation time, on
    /// Linux the inode number of the process's pidfd, or before Linux 6.9 the start time in clock ticks.
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
    /// Parses the text that `Display` writes.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidIdentity> {
        // std's parsers also accept a sign, which `Display` never writes.
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
    fn parse_accepts_only_the_text_that_display_writes() -> Result<(), InvalidIdentity> {
        let identity = ProcessIdentity::new(264, 0x1dc_5b4a_6f9d_3e80);
        assert_eq!(identity.to_string(), "264@1dc5b4a6f9d3e80");
        assert_eq!(ProcessIdentity::parse(&identity.to_string())?, identity);
        for text in ["", "264", "@", "264@", "@1", "-1@1", "+1@1", "1@+1", "1@g", "1@1@1", "99999999999@1"] {
            assert_eq!(ProcessIdentity::parse(text), Err(InvalidIdentity { input: text.into() }));
        }
        Ok(())
    }
}
