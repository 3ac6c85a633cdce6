//! The exercises and the levels beyond them: which roles each one has, and which requirements.

use clap::ValueEnum;

use super::judge::{Judgement, Runs, Strategy, judge};
use super::levels::{abandonment, grandchild, least_access, pipe, race, two_children, unrelated};
use super::picture::Sides;
use super::record::Record;
use super::roles::{Roles, roles};

/// The exercises of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exercise {
    /// The child inherits the handle of an unnamed event
    Inheritance,
    /// The handle of an unnamed event is duplicated into the running child
    Duplication,
    /// The child opens the event by its name
    Naming,
    /// Level: one signal releases two children
    TwoChildren,
    /// Level: the child passes the handle on to a child of its own, which waits
    Grandchild,
    /// Level: the handle is duplicated into a process that another one started
    Unrelated,
    /// Level: a pipe's reading end is duplicated, and the child reads to the end of file
    Pipe,
    /// Level: the child's handle can wait, and do nothing else
    LeastAccess,
    /// Level: two threads start a child at the same time, and each child gets its own handle alone
    Race,
    /// Level: the owner of a mutex is killed, and the process that waits for the mutex finds out
    Abandonment,
}

impl Exercise {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inheritance => "inheritance",
            Self::Duplication => "duplication",
            Self::Naming => "naming",
            Self::TwoChildren => "two-children",
            Self::Grandchild => "grandchild",
            Self::Unrelated => "unrelated",
            Self::Pipe => "pipe",
            Self::LeastAccess => "least-access",
            Self::Race => "race",
            Self::Abandonment => "abandonment",
        }
    }

    /// Returns how the handle is to reach the other process.
    pub(crate) fn strategy(self) -> Strategy {
        match self {
            Self::Inheritance => Strategy::Inheritance,
            Self::Duplication | Self::Unrelated | Self::Pipe => Strategy::Duplication,
            Self::Naming => Strategy::Naming,
            Self::TwoChildren | Self::Grandchild | Self::LeastAccess | Self::Race | Self::Abandonment => {
                Strategy::Any
            }
        }
    }

    /// Returns whether the pair also runs with something broken.
    pub(crate) fn breaks_something(self) -> bool {
        matches!(self, Self::Inheritance | Self::Duplication | Self::Naming | Self::LeastAccess)
    }

    /// Returns the roles by which the parent is held at its signal.
    pub(crate) fn roles(self, record: &Record) -> Option<Roles> {
        match self {
            Self::Grandchild => grandchild::roles(record).map(|cast| cast.signal),
            Self::Pipe => pipe::roles(record),
            Self::Unrelated => unrelated::roles(record),
            Self::Abandonment => abandonment::roles(record),
            _ => roles(record),
        }
    }

    /// Judges the runs.
    pub(crate) fn judge(self, runs: &Runs) -> Judgement {
        match self {
            Self::Inheritance | Self::Duplication | Self::Naming => judge(runs),
            Self::TwoChildren => two_children::judge(runs),
            Self::Grandchild => grandchild::judge(runs),
            Self::Unrelated => unrelated::judge(runs),
            Self::Pipe => pipe::judge(runs),
            Self::LeastAccess => least_access::judge(runs),
            Self::Race => race::judge(runs),
            Self::Abandonment => abandonment::judge(runs),
        }
    }

    /// Returns the pairs of processes that are drawn, one below the other.
    pub(crate) fn sides(self, record: &Record) -> Vec<Sides> {
        match self {
            Self::TwoChildren => two_children::sides(record),
            Self::Grandchild => grandchild::sides(record),
            Self::Race => race::sides(record),
            _ => self.roles(record).iter().map(Sides::of).collect(),
        }
    }
}
