//! Finds the files of this repository and the parts of them that the checks read.

use std::io;
use std::path::{Path, PathBuf};

/// Folders with generated files.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", "corpus", "snapshots"];

/// Returns the files with these extensions in the folder and its subfolders, sorted.
pub(crate) fn files(folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_in = |names: &[&str], name: Option<&std::ffi::OsStr>| {
            name.is_some_and(|name| names.iter().any(|other| name == *other))
        };
        if path.is_dir() {
            if !is_in(&SKIPPED_FOLDERS, path.file_name()) {
                found.extend(files(&path, extensions)?);
            }
        } else if is_in(extensions, path.extension()) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns all Rust sources in the folder and its subfolders.
#[cfg(test)]
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder, &["rs"]).expect("the folder can be read")
}

/// Returns the source without its tests. Clippy allows no code after them.
#[cfg(test)]
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}
