//! What an end lets in.

use std::sync::{PoisonError, RwLock};

use crate::Kind;

/// The kinds that an end lets in unless it is told otherwise: none of them is power over a process.
const ALLOWED: [Kind; 7] =
    [Kind::Event, Kind::Mutex, Kind::Semaphore, Kind::Section, Kind::File, Kind::Socket, Kind::Timer];

/// A list of kinds that can be changed while it is used.
#[derive(Debug)]
pub(crate) struct Allowed(RwLock<Vec<Kind>>);

impl Allowed {
    pub(crate) fn as_usual() -> Self {
        Self(RwLock::new(ALLOWED.to_vec()))
    }

    pub(super) fn add(&self, kind: Kind) {
        // A panic can't leave a list of kinds half changed.
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(kind);
    }

    pub(super) fn replace(&self, kinds: Vec<Kind>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    pub(crate) fn has(&self, kind: &Kind) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(kind)
    }
}
