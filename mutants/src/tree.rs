//! A copy of the repository with the mutants in the library, and its build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::System;
use crate::list::Mutant;
use crate::switch::{self, Switched};

const MODULE: &str = include_str!("switch_in_library.rs.txt");

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) system: System,
}

/// What became of the mutants when they were built.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// Those that don't compile.
    pub(crate) unviable: BTreeSet<usize>,
    /// Those that no switch can turn on.
    pub(crate) unswitched: BTreeSet<usize>,
}

impl Tree {
    /// The files of the repository that a build reads.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&self.root);
        let output = git.output().map_err(|error| format!("git: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_read = |path: &&str| !path.starts_with("docs/") && !path.starts_with("mutants/");
        let files = text.split('\0').filter(|path| !path.is_empty()).filter(is_read).map(PathBuf::from);
        Ok(files.filter(|path| self.root.join(path).is_file()).collect())
    }

    /// A number that is another one if any file has changed.
    pub(crate) fn fingerprint(&self) -> Result<String, String> {
        let mut hasher = DefaultHasher::new();
        MODULE.hash(&mut hasher);
        for path in self.files()? {
            // The last decides which mutants there are, and so which number each has.
            let counts = ["crates/handover", "tests", ".cargo/mutants.toml"];
            if counts.iter().any(|part| path.starts_with(part)) {
                path.hash(&mut hasher);
                read(&self.root.join(&path))?.hash(&mut hasher);
            }
        }
        Ok(format!("{:016x}", hasher.finish()))
    }

    /// Copies what has changed, with all mutants in it, and takes out those that don't compile until the rest does.
    pub(crate) fn make(&self, mutants: &BTreeMap<usize, Mutant>) -> Result<Built, String> {
        let sources: BTreeSet<&str> = mutants.values().map(|mutant| mutant.file.as_str()).collect();
        for path in self.files()? {
            let name = path.to_string_lossy();
            if sources.contains(name.as_ref()) || name == "crates/handover/src/lib.rs" {
                continue;
            }
            let (from, to) = (self.root.join(&path), self.folder.join(&path));
            write(&to, &fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?)?;
        }
        let lib = read(&self.root.join("crates/handover/src/lib.rs"))?;
        write(&self.folder.join("crates/handover/src/lib.rs"), format!("{lib}{MODULE}").as_bytes())?;
        let mut built = Built::default();
        loop {
            let files = self.switch(mutants, &mut built)?;
            let errors = self.check()?;
            if errors.is_empty() {
                return Ok(built);
            }
            let before = built.unviable.len() + built.unswitched.len();
            let mut nobodys = Vec::new();
            for error in &errors {
                nobodys.extend(blame(error, &files, &mut built));
            }
            let after = built.unviable.len() + built.unswitched.len();
            eprintln!("{} errors: {} mutants are out", errors.len(), after);
            if after == before {
                return Err(format!("the compiler says nothing about any mutant\n{}", nobodys.join("\n")));
            }
        }
    }

    /// Writes the library's files, without the mutants that are out.
    fn switch(
        &self,
        mutants: &BTreeMap<usize, Mutant>,
        built: &mut Built,
    ) -> Result<BTreeMap<String, Switched>, String> {
        let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (id, mutant) in mutants {
            let of_file = files.entry(&mutant.file).or_default();
            if !built.unviable.contains(id) && !built.unswitched.contains(id) {
                of_file.push((*id, mutant));
            }
        }
        let mut all = BTreeMap::new();
        for (file, mutants) in files {
            let text = read(&self.root.join(file))?;
            let (switched, rest) =
                switch::switched(&text, &mutants).map_err(|error| format!("{file}: {error}"))?;
            built.unswitched.extend(rest);
            write(&self.folder.join(file), switched.text.as_bytes())?;
            all.insert(file.to_owned(), switched);
        }
        Ok(all)
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        if self.system == System::Wine {
            cargo.args(["xtask", "win32"]);
        }
        cargo.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).stderr(Stdio::inherit());
        // A mutant that leaves something unused is one all the same.
        cargo.env("RUSTFLAGS", "--cap-lints=allow");
        cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("RUSTUP_TOOLCHAIN");
        cargo
    }

    fn messages(&self, arguments: &[&str]) -> Result<(Vec<Value>, bool), String> {
        let output = self.cargo(arguments).output().map_err(|error| format!("cargo: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((messages, output.status.success()))
    }

    /// What the compiler has against the library.
    fn check(&self) -> Result<Vec<Value>, String> {
        let (messages, is_good) = self.messages(&[
            "check",
            "--quiet",
            "--message-format=json",
            "-p",
            "handover",
            "--lib",
            "--features",
            "faults,tracing",
        ])?;
        let errors: Vec<Value> = messages
            .into_iter()
            .map(|message| message["message"].clone())
            .filter(|message| {
                message["level"] == "error" && message["spans"].as_array().is_some_and(|s| !s.is_empty())
            })
            .collect();
        if !is_good && errors.is_empty() {
            return Err("cargo check failed".into());
        }
        Ok(errors)
    }

    /// Builds the tests; the programs, and whether each is of the library itself.
    pub(crate) fn programs(&self) -> Result<Vec<(PathBuf, bool)>, String> {
        let (messages, is_good) = self.messages(&[
            "test",
            "--quiet",
            "--no-run",
            "--message-format=json",
            "-p",
            "handover",
            "-p",
            "handover-tests",
            "--lib",
            "--tests",
        ])?;
        if !is_good {
            for message in &messages {
                if let Some(text) = message["message"]["rendered"].as_str() {
                    eprintln!("{text}");
                }
            }
            return Err("the tests don't build".into());
        }
        let of = |message: &Value| {
            let path = PathBuf::from(message["executable"].as_str()?);
            // A relative one is one of the emulated system's.
            Some((path, message["target"]["name"] == "handover"))
        };
        Ok(messages.iter().filter(|message| message["profile"]["test"] == true).filter_map(of).collect())
    }
}

/// Finds whose fault an error is.
fn blame(error: &Value, files: &BTreeMap<String, Switched>, built: &mut Built) -> Option<String> {
    /// A mutant whose types are wrong is wrong without the switch too. Another error can be the switch's.
    const WRONG_TYPES: [&str; 10] =
        ["E0277", "E0308", "E0369", "E0599", "E0600", "E0282", "E0283", "E0368", "E0061", "E0624"];
    let mut spans: Vec<&Value> = error["spans"].as_array().into_iter().flatten().collect();
    for child in error["children"].as_array().into_iter().flatten() {
        spans.extend(child["spans"].as_array().into_iter().flatten());
    }
    spans.sort_by_key(|span| span["is_primary"] != true);
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    for span in &spans {
        let name = span["file_name"].as_str().unwrap_or_default().replace('\\', "/");
        let Some((_, file)) =
            files.iter().find(|(file, _)| name.ends_with(file.as_str()) || file.ends_with(&name))
        else {
            continue;
        };
        let (from, to) = (number(&span["byte_start"]), number(&span["byte_end"]));
        let holds = |range: &Range<usize>| range.start <= from && to <= range.end;
        let inner =
            file.regions.iter().filter(|(range, _)| holds(range)).min_by_key(|(range, _)| range.len());
        if let Some((_, id)) = inner {
            if WRONG_TYPES.iter().any(|code| error["code"]["code"] == *code) {
                built.unviable.insert(*id);
            } else {
                eprintln!("{}", error["rendered"].as_str().unwrap_or_default());
                built.unswitched.insert(*id);
            }
            return None;
        }
    }
    // A function that returns `impl Trait` has the type of the first that is returned, and the error is at the next.
    let nearest = spans.iter().find_map(|span| {
        let name = span["file_name"].as_str().unwrap_or_default().replace('\\', "/");
        let (_, file) = files.iter().find(|(file, _)| name.ends_with(file.as_str()))?;
        let before = file.regions.iter().filter(|(range, _)| range.end <= number(&span["byte_start"]));
        before.max_by_key(|(range, _)| range.end).map(|(_, id)| *id)
    });
    if let Some(id) = nearest {
        built.unswitched.insert(id);
        return None;
    }
    error["rendered"].as_str().map(str::to_owned)
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file unless it is the same, which cargo would take for a change.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    let failed = |error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}
