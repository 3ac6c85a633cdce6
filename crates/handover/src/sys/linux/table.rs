//! The inheritable descriptors of this process.

use super::SysResult;
use super::ask;
use super::handle::{FIRST, is_open_and_inheritable};
use crate::handle::HandleValue;

/// Further information about a descriptor. Linux has none.
pub(crate) type Carries = ();

/// Returns the descriptors that a started program would inherit, without the standard streams. An inherited
/// descriptor is included until it is adopted.
pub(crate) fn inheritable() -> SysResult<Vec<(HandleValue, Carries)>> {
    const FOLDER: &str = "/proc/thread-self/fd";
    let mut open = Vec::new();
    ask("readdir", &[("path", FOLDER.into())], || {
        for entry in std::fs::read_dir(FOLDER)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            open.extend(number);
        }
        Ok(open.len())
    })?;
    let mut found = Vec::new();
    open.sort_unstable();
    for value in open.into_iter().filter_map(|number| HandleValue::new(number).ok()) {
        // The list includes the descriptor with which the folder was read; it is closed by now, so this check drops
        // it.
        if i64::from(value.get()) >= i64::from(FIRST) && is_open_and_inheritable(value)? {
            found.push((value, ()));
        }
    }
    Ok(found)
}
