//! `cargo xtask soak`: the soak on each system, and what it has seen.

use crate::step::Failed;
use crate::{Which, beside_native, native};

/// What the soak is built with, after the command: the library alone, as users have it.
const SOAK: [&str; 3] = ["--release", "--package", "soak"];
/// Where what was seen is kept.
const FOLDER: &str = "docs/verified";
/// As much as Wine does in some minutes. It starts a process in a tenth of a second where Linux takes a millisecond.
const UNDER_WINE: [&str; 4] = ["--hand-overs", "350000", "--spawns", "3500"];

/// A million hand-overs and ten thousand spawns natively, and what Wine can do of it, unless it is said how many.
pub(crate) fn soak(which: Which, options: &[&str]) -> Result<(), Failed> {
    native::check()?;
    let build = [&["build", "--quiet"], SOAK.as_slice()].concat();
    native::cargo("build the soak", &build)?;
    let arguments = |system: &str, usual: &[&'static str]| -> Vec<String> {
        let file = format!("{FOLDER}/soak-{system}.tsv");
        let own = ["--save", &file].map(str::to_owned);
        own.into_iter().chain([usual, options].concat().into_iter().map(str::to_owned)).collect()
    };
    let here = arguments(std::env::consts::OS, &[]);
    native::program("soak", &SOAK, &here.iter().map(String::as_str).collect::<Vec<_>>())?;
    let Some(win32) = beside_native(which)? else { return Ok(()) };
    win32.cargo("build the soak for Windows", &build)?;
    let there = arguments("wine", &UNDER_WINE);
    win32.program("release", "soak", &there.iter().map(String::as_str).collect::<Vec<_>>())
}
