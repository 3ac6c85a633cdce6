//! Stands for the tracer on machines that it doesn't support: 32-bit ones, and on Windows those that aren't x86-64. Their calls
//! have other structures.

use std::convert::Infallible;
use std::process::Command;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inspect::observe::{Change, Next};

/// Never exists, because [`start`](Self::start) fails.
#[derive(Debug)]
pub(crate) struct Tracer(Infallible);

impl Tracer {
    #[allow(clippy::needless_pass_by_value, reason = "the other tracer starts the command")]
    pub(crate) fn start(command: Command, _: Instant) -> Result<Self> {
        let input = format!("the program {:?}", command.get_program());
        Err(Error::invalid(
            input,
            "can't be followed call by call by this build of the program; use one for 64-bit Linux, or for Windows on x86-64",
        ))
    }

    pub(crate) fn next(&mut self, _: Instant) -> Result<Next> {
        match self.0 {}
    }

    pub(crate) fn hold(&mut self) {
        match self.0 {}
    }

    pub(crate) fn release(&mut self, _: u32) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn kill(&mut self, _: u32) {
        match self.0 {}
    }

    pub(crate) fn change(&mut self, _: u32, _: HandleValue, _: Change, _: Instant) -> Result<Option<bool>> {
        match self.0 {}
    }

    pub(crate) fn environment(&self, _: u32) -> Option<String> {
        match self.0 {}
    }

    pub(crate) fn streams(&self, _: u32) -> Vec<HandleValue> {
        match self.0 {}
    }

    pub(crate) fn is_same(&self, _: (u32, HandleValue), _: (u32, HandleValue)) -> Result<Option<bool>> {
        match self.0 {}
    }
}
