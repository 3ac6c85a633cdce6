//! Introductions that give one of the two processes power over the other.

use std::time::Duration;

use super::travel::introduced_stronger;
use crate::channel::Channel;
use crate::channel::introduce::give;
use crate::error::Result;

/// Connects two processes to each other as [`introduce`](crate::introduce) does, and makes `stronger` the stronger process of
/// their channel, so that objects travel between them in both directions.
///
/// # Power
///
/// It gives the process at `stronger` a handle to the process at `weaker` with the right `PROCESS_DUP_HANDLE`, and those to
/// wait for it and to query its times. With that right a process can copy all handles of the other process and put handles
/// into it, so it has full control over it, until that exits. The weaker process gets a handle by which it can wait for the
/// stronger one, and no power over it.
///
/// The caller must be the stronger process of both channels: a parent or a server.
///
/// ```no_run
/// use handover::Command;
/// use handover::os::windows::introduce_stronger;
///
/// let mut host = Command::new("host").channel().spawn()?;
/// let mut plugin = Command::new("plugin").channel().spawn()?;
/// let channels = [&mut host, &mut plugin].map(|child| child.take_channel().expect("it has one"));
/// // The host can do everything with the plug-in.
/// introduce_stronger(&channels[0], &channels[1], "plugin")?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Errors
///
/// - [`Error::InvalidInput`](crate::Error::InvalidInput) if this process isn't the stronger one of both channels.
/// - The errors of [`Channel::send`], for either of the two. If the second one can't be told, the endpoint of the first one
///   is disconnected.
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub fn introduce_stronger(stronger: &Channel, weaker: &Channel, name: &str) -> Result<()> {
    introduce_stronger_timeout(stronger, weaker, name, Duration::MAX)
}

/// Connects two processes as [`introduce_stronger`] does, waiting for at most `timeout` until each of them receives.
///
/// # Errors
///
/// The errors of [`introduce_stronger`], and [`Error::TimedOut`](crate::Error::TimedOut).
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub fn introduce_stronger_timeout(
    stronger: &Channel,
    weaker: &Channel,
    name: &str,
    timeout: Duration,
) -> Result<()> {
    let (for_stronger, for_weaker) = introduced_stronger(&stronger.endpoint, &weaker.endpoint)?;
    // The stronger process must not put handles into the other one before that has its endpoint.
    give(weaker, for_weaker, name, timeout)?;
    give(stronger, for_stronger, name, timeout)
}
