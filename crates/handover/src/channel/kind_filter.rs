//! The kinds of objects that an endpoint accepts.

use std::sync::{PoisonError, RwLock};

use crate::handle::ObjectKind;
use crate::sys::handle::can_be;

/// A list of accepted kinds, which can be changed while it is used.
#[derive(Debug)]
pub(crate) struct KindFilter(RwLock<Vec<ObjectKind>>);

impl Default for KindFilter {
    /// Accepts every kind that gives no power over a process.
    fn default() -> Self {
        let accepted = ObjectKind::ALL.iter().filter(|kind| kind.is_accepted_by_default());
        Self(RwLock::new(accepted.cloned().collect()))
    }
}

impl KindFilter {
    pub(super) fn add(&self, kind: ObjectKind) {
        // The list guards no invariant, so poisoning is ignored.
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(kind);
    }

    pub(super) fn replace(&self, kinds: Vec<ObjectKind>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    /// Accepts the kinds that another list accepts now.
    pub(super) fn copy_from(&self, other: &Self) {
        self.replace(other.0.read().unwrap_or_else(PoisonError::into_inner).clone());
    }

    /// Returns whether an object that the kernel reports as this kind is accepted.
    pub(crate) fn has(&self, found: &ObjectKind) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|kind| can_be(found, kind))
    }
}
