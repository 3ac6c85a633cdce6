//! This process's own descriptor table.

use std::io;

use super::fault;
use super::handle::{FIRST, is_open_and_inheritable};
use crate::HandleValue;

/// What is known of a descriptor beside its value.
pub(crate) type Carries = ();

/// The descriptors of this process that a started program would get, beside the standard streams. What was inherited
/// is among them until it is adopted.
pub(crate) fn inheritable() -> io::Result<Vec<(HandleValue, Carries)>> {
    fault("open")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/thread-self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
        let Some(value) = number.and_then(|number| HandleValue::try_from(number).ok()) else { continue };
        // The one that reads the folder isn't inheritable.
        if i64::from(value.get()) >= i64::from(FIRST) && is_open_and_inheritable(value)? {
            found.push((value, ()));
        }
    }
    found.sort_unstable();
    Ok(found)
}
