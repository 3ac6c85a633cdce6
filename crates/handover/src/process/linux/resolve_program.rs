//! Resolves a program's name to a file.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys::spawn::can_be_started;

/// Returns the file of a program:
///
/// - A path (a name that contains a slash) is used unchanged. A relative path is relative to this process's current
///   directory.
/// - A bare name is searched for in the child's `PATH` if the builder changes it, and otherwise in this process's. The
///   current directory is not searched. Relative entries of `PATH` are skipped, because they would lead to it.
///
/// `child_path` is the child's `PATH` if the builder changes it, and `Some(None)` if the builder removes it.
/// `changes_directory` says whether the child gets another current directory.
pub(super) fn find(
    program: &OsStr,
    child_path: Option<Option<&OsStr>>,
    changes_directory: bool,
) -> Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = Path::new(program);
        // The path is made absolute only if necessary: a relative path can be accessible where the absolute one isn't.
        let file = if changes_directory {
            std::path::absolute(path).unwrap_or_else(|_| path.into())
        } else {
            path.into()
        };
        return match file.metadata() {
            Ok(metadata) if !metadata.is_dir() => Ok(file),
            // The file may exist although its metadata can't be read. `execve` reports the error if it can't be
            // started.
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(file),
            _ => Err(missing(program, vec![file])),
        };
    }
    /// The folders that the C library searches if `PATH` isn't set.
    const DEFAULT_PATH: &str = "/bin:/usr/bin";
    let own_path = std::env::var_os("PATH");
    let path = child_path.unwrap_or(own_path.as_deref()).unwrap_or(OsStr::new(DEFAULT_PATH));
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let searched: Vec<PathBuf> = folders.map(|folder| folder.join(program)).collect();
    for file in &searched {
        let failed = |source| Error::system(file.display().to_string(), source);
        if file.is_file() && can_be_started(file).map_err(failed)? {
            return Ok(file.clone());
        }
    }
    Err(missing(program, searched))
}

fn missing(program: &OsStr, searched: Vec<PathBuf>) -> Error {
    Error::ProgramNotFound { program: program.to_string_lossy().into_owned(), searched }
}
