//! Finding the file of a program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The file of a program:
///
/// - A path (anything with a slash) is taken as it is, relative ones from this process's current directory.
/// - A bare name is looked for in the child's `PATH`, if the builder says anything about it, and in this process's
///   otherwise. The current directory is not searched, and entries that aren't absolute are passed over, because they
///   would bring it in.
pub(super) fn find(program: &OsStr, child_path: Option<&OsStr>) -> Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = Path::new(program);
        let file = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        // Whether it can be started, the call says that starts it; whether it is there, this says better.
        if file.is_file() {
            return Ok(file);
        }
        return Err(missing(program, vec![file]));
    }
    /// Where the system's own library looks if nothing is said.
    const USUAL: &str = "/bin:/usr/bin";
    let own_path = std::env::var_os("PATH");
    let path = child_path.or(own_path.as_deref()).unwrap_or(OsStr::new(USUAL));
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let looked_at: Vec<PathBuf> = folders.map(|folder| folder.join(program)).collect();
    match looked_at.iter().find(|file| is_program(file)) {
        Some(file) => Ok(file.clone()),
        None => Err(missing(program, looked_at)),
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn missing(program: &OsStr, looked_at: Vec<PathBuf>) -> Error {
    Error::ProgramNotFound { program: program.to_string_lossy().into_owned(), looked_at }
}
