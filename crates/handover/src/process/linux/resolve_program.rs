//! Finding the file of a program.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys::spawn::can_be_started;

/// The file of a program:
///
/// - A path (anything with a slash) is taken as it is, relative ones from this process's current directory.
/// - A bare name is looked for in the child's `PATH`, if the builder says anything about it, and in this process's
///   otherwise. The current directory is not searched, and entries that aren't absolute are passed over, because they
///   would bring it in.
///
/// `child_path` is what the builder says; `moves` whether the child has another directory.
pub(super) fn find(program: &OsStr, child_path: Option<Option<&OsStr>>, moves: bool) -> Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = Path::new(program);
        // Only if it has to be: what can be entered by a relative path can't always be by the absolute one.
        let file =
            if moves { std::path::absolute(path).unwrap_or_else(|_| path.into()) } else { path.into() };
        return match file.metadata() {
            Ok(metadata) if !metadata.is_dir() => Ok(file),
            // Whether it is there, the call says that starts it.
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(file),
            _ => Err(missing(program, vec![file])),
        };
    }
    /// Where the system's own library looks if nothing is said.
    const USUAL: &str = "/bin:/usr/bin";
    let own_path = std::env::var_os("PATH");
    let path = child_path.unwrap_or(own_path.as_deref()).unwrap_or(OsStr::new(USUAL));
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let looked_at: Vec<PathBuf> = folders.map(|folder| folder.join(program)).collect();
    for file in &looked_at {
        let failed = |source| Error::system(file.display().to_string(), source);
        if file.is_file() && can_be_started(file).map_err(failed)? {
            return Ok(file.clone());
        }
    }
    Err(missing(program, looked_at))
}

fn missing(program: &OsStr, looked_at: Vec<PathBuf>) -> Error {
    Error::ProgramNotFound { program: program.to_string_lossy().into_owned(), searched: looked_at }
}
