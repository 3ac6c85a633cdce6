//! The mutants, as cargo-mutants lists them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A place in a file, in lines and columns that begin with 1.
pub(crate) type Place = (usize, usize);

#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// Relative to the repository.
    pub(crate) file: String,
    /// What cargo-mutants calls it, without its file and place.
    pub(crate) name: String,
    pub(crate) returns: String,
    pub(crate) genre: String,
    pub(crate) replacement: String,
    pub(crate) from: Place,
    pub(crate) to: Place,
}

impl Mutant {
    /// The name with its place, as cargo-mutants' options want it.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.from.0, self.from.1)
    }
}

/// All mutants of the library in these files.
pub(crate) fn all(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Mutant>, String> {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--list", "--json", "--package", "handover"]).current_dir(root);
    let output = command.output().map_err(|error| format!("cargo mutants: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo mutants --list failed; `cargo install cargo-mutants --locked`?\n{said}"));
    }
    let list: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    let place = |value: &Value| (number(&value["line"]), number(&value["column"]));
    let mutants = list.as_array().into_iter().flatten().map(|mutant| Mutant {
        file: text(&mutant["file"]),
        name: text(&mutant["name"]).split_once(": ").map_or_else(String::new, |(_, name)| name.to_owned()),
        returns: text(&mutant["function"]["return_type"]),
        genre: text(&mutant["genre"]),
        replacement: text(&mutant["replacement"]),
        from: place(&mutant["span"]["start"]),
        to: place(&mutant["span"]["end"]),
    });
    Ok(mutants.filter(|mutant| wanted(&mutant.file)).collect())
}
