//! Resolves a program's name to a file, and says why a file can't be started.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys::SysError;

/// Returns the files in which to look for a program. `execve` tries them in order, as the user that the child will be.
///
/// - A path (a name that contains a slash) is the only file. A relative path is relative to this process's current
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
) -> Result<Vec<PathBuf>> {
    let path = Path::new(program);
    if program.as_bytes().contains(&b'/') {
        // The path is made absolute only if necessary: a relative path can be accessible where the absolute one isn't.
        if !changes_directory || path.is_absolute() {
            return Ok(vec![path.to_path_buf()]);
        }
        return Ok(vec![current_directory()?.join(path)]);
    }
    /// The folders that the C library searches if `PATH` isn't set.
    const DEFAULT_PATH: &str = "/bin:/usr/bin";
    let own_path = std::env::var_os("PATH");
    let path = child_path.unwrap_or(own_path.as_deref()).unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        let file = folder.join(program);
        if !files.contains(&file) {
            files.push(file);
        }
    }
    if files.is_empty() { Err(missing(program, files)) } else { Ok(files) }
}

/// Returns the path of this process's current directory, if it leads there.
fn current_directory() -> Result<PathBuf> {
    let failed = |error| {
        let context = "this process's current directory, to which the program's path is relative";
        Error::system(context, error)
    };
    let directory = std::env::current_dir().map_err(SysError::of("getcwd")).map_err(failed)?;
    // Another folder may be mounted over the directory since this process entered it.
    let id = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
    if id(Path::new(".")).is_ok_and(|own| id(&directory).is_ok_and(|named| named == own)) {
        return Ok(directory);
    }
    let source = io::Error::new(io::ErrorKind::NotFound, "its path leads to another folder");
    Err(failed(SysError::new("stat", source)))
}

fn missing(program: &OsStr, searched: Vec<PathBuf>) -> Error {
    Error::ProgramNotFound { program: program.to_string_lossy().into_owned(), searched }
}

/// Returns the reason why std's `Command` could not start a program, or gives the error back if it isn't known. The
/// error doesn't name the call that failed.
#[cfg(feature = "inspect")]
pub(crate) fn reason_of_std(command: &std::process::Command, error: SysError) -> Result<Error, SysError> {
    let program = command.get_program();
    let directory = command.get_current_dir();
    if directory.is_some_and(|directory| !directory.is_dir()) {
        return Err(error);
    }
    // std resolves a relative path in the child's directory.
    let file = match directory {
        Some(directory) if program.as_bytes().contains(&b'/') => directory.join(program).into_os_string(),
        _ => program.to_owned(),
    };
    let path = command.get_envs().find(|(name, _)| *name == "PATH").map(|(_, path)| path);
    let files = match find(&file, path, false) {
        Ok(files) => files,
        Err(reason @ Error::ProgramNotFound { .. }) => return Ok(reason),
        Err(_) => return Err(error),
    };
    let code = error.raw_os_error();
    let is_it = |file: &&PathBuf| match file.metadata() {
        Ok(_) => true,
        Err(found) => found.raw_os_error() == code && code != Some(libc::ENOENT),
    };
    let index = files.iter().position(|file| is_it(&file)).unwrap_or(0);
    match reason(program, &files, index, &error) {
        // An error that the file doesn't explain may come from an earlier step, while std prepared the child.
        Some(Error::CannotExecute { reason, .. }) if [NOT_ALLOWED, NO_LOADER].contains(&reason.as_str()) => {
            Err(error)
        }
        _ if code == Some(libc::EPERM) => Err(error),
        reason => reason.ok_or(error),
    }
}

/// Returns the reason why no file of a program can be started, or `None` if the error says nothing about them. The error
/// is that of the file with this index.
pub(super) fn reason(program: &OsStr, files: &[PathBuf], index: usize, error: &io::Error) -> Option<Error> {
    let is_missing = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) && files.len() > 1;
    if !is_missing {
        return reason_of(program, files.get(index)?, error);
    }
    // The kernel reports a missing interpreter as it reports a missing file.
    match files.iter().find(|file| file.symlink_metadata().is_ok()) {
        Some(file) => reason_of(program, file, &io::Error::from_raw_os_error(libc::ENOENT)),
        None => Some(missing(program, files.to_vec())),
    }
}

fn reason_of(program: &OsStr, file: &Path, error: &io::Error) -> Option<Error> {
    let found = file.metadata();
    let reason = match error.raw_os_error()? {
        libc::ENOENT => match found {
            Err(_) if file.symlink_metadata().is_ok() => {
                "is a symbolic link to a file that does not exist".into()
            }
            Err(_) => return Some(missing(program, vec![file.to_path_buf()])),
            Ok(_) => missing_interpreter(file),
        },
        libc::EACCES | libc::EPERM => match found {
            Ok(found) => denied(&found).into(),
            Err(_) => "can't be reached: this user may not enter one of its folders".into(),
        },
        libc::ENOTDIR if found.is_ok() => missing_interpreter(file),
        libc::ENOTDIR => "can't be reached: a part of its path is not a folder".into(),
        libc::ENOEXEC => {
            "is not a program for this machine, and is no script: its first line doesn't begin with #!".into()
        }
        libc::ELIBBAD | libc::EINVAL => "is not a valid program file".into(),
        libc::ETXTBSY => "is open for writing in a process; close it there first, or try again: a child that is just being started can still \
             have a copy of a descriptor that was closed".into(),
        libc::ENAMETOOLONG => "is too long for a path".into(),
        libc::ELOOP => "leads through too many symbolic links, or too many interpreters".into(),
        _ => return None,
    };
    let program = file.to_string_lossy().into_owned();
    // `io::Error` can't be cloned. This one has a code.
    let source = io::Error::from_raw_os_error(error.raw_os_error()?);
    Some(Error::CannotExecute { program, reason, source })
}

const NOT_ALLOWED: &str = "may not be executed by this user, or is on a file system that is mounted noexec";
const NO_LOADER: &str =
    "needs a loader or an interpreter that does not exist; it may be built for another system";

fn denied(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_dir() {
        "is a folder; give the path of a program"
    } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        "is not a regular file"
    } else if found.permissions().mode() & 0o111 == 0 {
        "is not executable; if it is a program, set that permission with chmod +x"
    } else {
        NOT_ALLOWED
    }
}

/// Returns the reason if a file exists, but the kernel doesn't find the program that it needs to run it.
fn missing_interpreter(file: &Path) -> String {
    let mut beginning = Vec::new();
    // The kernel reads no more of the file to find the interpreter.
    let read = File::open(file).and_then(|file| file.take(256).read_to_end(&mut beginning));
    let line = beginning.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let words = line.map(|line| line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')));
    match words.and_then(|mut words| words.find(|word| !word.is_empty())) {
        Some(interpreter) if read.is_ok() => {
            let interpreter = OsStr::from_bytes(interpreter);
            let hint = if line.is_some_and(|line| line.ends_with(b"\r")) {
                "; its lines end as on Windows, with CR and LF"
            } else {
                ""
            };
            format!("needs the interpreter {interpreter:?} of its first line, which does not exist{hint}")
        }
        _ => NO_LOADER.into(),
    }
}
