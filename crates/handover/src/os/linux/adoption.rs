//! What was handed down, and for whom.

use crate::inherit::activation::named;
use crate::inherit::manifest::bad;
use crate::{Error, HandleValue, Result};

/// The process named in it must be this one. One that only copied the environment is another. A process that starts
/// another program in its own place stays the same, and so may a worker be started by a script.
pub(crate) fn check_is_meant_for_this_process(meant_for: &str) -> Result<()> {
    let meant_for: u32 = meant_for.parse().map_err(|_| bad("doesn't say for which process it is"))?;
    let this = std::process::id();
    if meant_for == this {
        return Ok(());
    }
    Err(Error::NotForThisProcess {
        meant_for: format!("process {meant_for}"),
        this: format!("process {this}"),
    })
}

/// What a service manager has handed down to this very process, as `sd_listen_fds(3)` has it: so many descriptors from 3
/// on, and their names with colons in between. Those that were meant for another process are none of ours.
pub(crate) fn activated() -> Result<Vec<(String, HandleValue)>> {
    let variable = |name: &str| std::env::var_os(name);
    named(variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"), std::process::id())
}
