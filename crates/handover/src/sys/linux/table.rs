//! This process's own descriptor table.

use super::SysResult;
use super::ask;
use super::handle::{FIRST, is_open_and_inheritable};
use crate::handle::HandleValue;

/// What is known of a descriptor beside its value.
pub(crate) type Carries = ();

/// The descriptors of this process that a started program would get, beside the standard streams. What was inherited
/// is among them until it is adopted.
pub(crate) fn inheritable() -> SysResult<Vec<(HandleValue, Carries)>> {
    const FOLDER: &str = "/proc/thread-self/fd";
    let mut open = Vec::new();
    ask("readdir", &[("path", FOLDER.into())], || {
        for entry in std::fs::read_dir(FOLDER)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            open.extend(number.and_then(|number| HandleValue::try_from(number).ok()));
        }
        Ok(open.len())
    })?;
    let mut found = Vec::new();
    for value in open {
        // The one that has read the folder is closed.
        if i64::from(value.get()) >= i64::from(FIRST) && is_open_and_inheritable(value)? {
            found.push((value, ()));
        }
    }
    found.sort_unstable();
    Ok(found)
}
