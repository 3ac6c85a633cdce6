//! The limits of the measurement of one thread that serves many channels.

use crate::wait_set::Service;

/// The floor is written for Linux alone.
pub(crate) const FLOOR: Option<Service> = None;

/// The largest number of channels to measure.
pub(crate) const MOST: usize = 1_000;
