//! Resolves a program's name to a file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf, Prefix};

use windows_sys::Win32::Foundation::{
    ERROR_BAD_EXE_FORMAT, ERROR_BAD_FORMAT, ERROR_EXE_MACHINE_TYPE_MISMATCH, ERROR_EXE_MARKED_INVALID,
    ERROR_INVALID_EXE_SIGNATURE,
};

use crate::error::{Error, Result};
use crate::sys::text::{system_directory, windows_directory};
use crate::sys::{SysError, SysResult};

/// Returns the file of a program:
///
/// - A path (a name that contains a separator or a drive) is used unchanged. A relative path is relative to this
///   process's current directory.
/// - A bare name is searched for in the child's `PATH` if the builder sets one, then in the running program's folder,
///   in the system's two folders and in this process's `PATH`. The current directory is not searched. Relative entries
///   of a `PATH` are skipped, because they would lead to it.
///
/// Unless the name already ends with `.exe`, the name with `.exe` appended is looked for in all folders first: a file
/// without the extension is rarely a program, as std knows too.
pub(super) fn find(program: &OsStr, child_path: Option<&OsStr>) -> Result<PathBuf> {
    let name = Path::new(program);
    // Only one file is possible. `CreateProcessW` reports whether it exists, so an extra check would only cost time.
    if name.is_absolute() && ends_in_exe(name) {
        return Ok(name.to_path_buf());
    }
    let files: Vec<PathBuf> = match is_bare(name) {
        true => {
            let in_folders: Vec<Vec<PathBuf>> =
                folders(child_path)?.map(|folder| files(&folder.join(name)).collect()).collect();
            let is_program = |file: &&PathBuf| ends_in_exe(file);
            let (with, without): (Vec<&PathBuf>, Vec<&PathBuf>) =
                in_folders.iter().flatten().partition(is_program);
            with.into_iter().chain(without).cloned().collect()
        }
        false => files(name).collect(),
    };
    // `PATH` often lists a folder twice.
    let mut searched: Vec<PathBuf> = Vec::with_capacity(files.len());
    for file in files {
        if file.is_file() {
            return Ok(file);
        }
        if !searched.contains(&file) {
            searched.push(file);
        }
    }
    let folder = searched.iter().find(|file| !is_bare(name) && file.is_dir());
    Err(folder.map_or_else(|| missing(program, searched.clone()), |folder| is_folder(folder)))
}

fn missing(program: &OsStr, searched: Vec<PathBuf>) -> Error {
    Error::ProgramNotFound { program: program.to_string_lossy().into_owned(), searched }
}

fn is_folder(file: &Path) -> Error {
    /// `ERROR_ACCESS_DENIED`, by which `CreateProcessW` refuses a folder.
    const ACCESS_DENIED: i32 = 5;
    let denied = io::Error::from_raw_os_error(ACCESS_DENIED);
    cannot_execute(file, "is a folder; give the path of a program", denied)
}

fn cannot_execute(file: &Path, reason: &str, source: io::Error) -> Error {
    Error::CannotExecute { program: file.to_string_lossy().into_owned(), reason: reason.into(), source }
}

/// Returns the reason why std's `Command` could not start a program, or gives the error back if it isn't known.
#[cfg(feature = "inspect")]
pub(crate) fn reason_of_std(command: &std::process::Command, error: SysError) -> Result<Error, SysError> {
    let program = command.get_program();
    let path =
        command.get_envs().find(|(name, _)| name.eq_ignore_ascii_case("PATH")).and_then(|(_, path)| path);
    match find(program, path) {
        Ok(file) => reason(program, &file, error),
        Err(reason @ (Error::ProgramNotFound { .. } | Error::CannotExecute { .. })) => Ok(reason),
        Err(_) => Err(error),
    }
}

/// Returns the reason why `CreateProcessW` could not start this file, or gives the error back if it says nothing about
/// the file.
pub(super) fn reason(program: &OsStr, file: &Path, error: SysError) -> Result<Error, SysError> {
    // An absolute path isn't checked before the call, so the file may not exist.
    if !file.is_file() {
        return Ok(if file.is_dir() { is_folder(file) } else { missing(program, vec![file.to_path_buf()]) });
    }
    match error.raw_os_error().and_then(|code| u32::try_from(code).ok()) {
        Some(
            ERROR_BAD_EXE_FORMAT
            | ERROR_EXE_MACHINE_TYPE_MISMATCH
            | ERROR_INVALID_EXE_SIGNATURE
            | ERROR_EXE_MARKED_INVALID
            | ERROR_BAD_FORMAT,
        ) => Ok(cannot_execute(file, "is not a program for this machine", error.source)),
        _ => Err(error),
    }
}

fn is_bare(name: &Path) -> bool {
    let mut components = name.components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        && !name.as_os_str().as_encoded_bytes().ends_with(b"\\")
        && !name.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn folders(child_path: Option<&OsStr>) -> Result<impl Iterator<Item = PathBuf>> {
    // A failure must not skip one of the system folders: a program of the same name could be found in a later folder.
    let failed = |error| Error::system("the list of folders to search for programs", error);
    let system = system_directory().map_err(failed)?;
    let windows = windows_directory().map_err(failed)?;
    let own_folder = std::env::current_exe().ok().and_then(|file| file.parent().map(Path::to_path_buf));
    let split = |path: OsString| std::env::split_paths(&path).collect::<Vec<_>>();
    let path = std::env::var_os("PATH").map(split).unwrap_or_default();
    let child_path = child_path.map(|path| split(path.to_owned())).unwrap_or_default();
    let all = child_path.into_iter().chain(own_folder).chain([system, windows]).chain(path);
    Ok(all.filter(|folder| folder.is_absolute()))
}

/// Returns the files to try for a path, in order.
fn files(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let unchanged = path.to_path_buf();
    let with_exe = (!ends_in_exe(path)).then(|| {
        let mut name = path.as_os_str().to_owned();
        name.push(".exe");
        PathBuf::from(name)
    });
    with_exe.into_iter().chain([unchanged])
}

fn ends_in_exe(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("exe"))
}

/// Returns the path in the form that `CreateProcessW` accepts. A long path has to be absolute and begin with `\\?\`, so
/// that Windows doesn't parse it.
pub(super) fn api_path(file: &Path) -> SysResult<PathBuf> {
    /// Paths shorter than this don't need the prefix. It is less than `MAX_PATH`, because the system appends to the
    /// path.
    const LONG_PATH: usize = 248;
    let absolute = std::path::absolute(file).map_err(SysError::of("GetFullPathNameW"))?;
    if absolute.as_os_str().len() < LONG_PATH {
        return Ok(file.to_path_buf());
    }
    let Some(Component::Prefix(prefix)) = absolute.components().next() else { return Ok(absolute) };
    let (prefix, rest) = match prefix.kind() {
        Prefix::Disk(_) => (r"\\?\", absolute.as_os_str().to_owned()),
        Prefix::UNC(..) => {
            // The prefix replaces the path's own two leading separators.
            let units: Vec<u16> = absolute.as_os_str().encode_wide().skip(2).collect();
            (r"\\?\UNC\", OsString::from_wide(&units))
        }
        _ => return Ok(absolute),
    };
    let mut prefixed = OsString::from(prefix);
    prefixed.push(rest);
    Ok(prefixed.into())
}

/// Returns whether Windows would start `cmd.exe` for this file. Windows ignores dots and spaces at the end of a name.
pub(super) fn is_batch_file(file: &Path) -> bool {
    let name = file.as_os_str().to_string_lossy();
    let name = name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    name.ends_with(".bat") || name.ends_with(".cmd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_path_prefixes_only_long_paths() -> io::Result<()> {
        let call = |path: &str| Ok::<_, io::Error>(api_path(Path::new(path))?.to_string_lossy().into_owned());
        let deep = format!(r"{}program.exe", r"a folder\".repeat(40));
        assert_eq!(call(r"C:\short\program.exe")?, r"C:\short\program.exe");
        assert_eq!(call(&format!(r"C:\{deep}"))?, format!(r"\\?\C:\{deep}"));
        assert_eq!(call(&format!(r"\\server\share\{deep}"))?, format!(r"\\?\UNC\server\share\{deep}"));
        assert_eq!(call(&format!(r"\\?\C:\{deep}"))?, format!(r"\\?\C:\{deep}"));
        assert!(call(&deep)?.starts_with(r"\\?\"));
        // The longest path that stays unchanged, and the shortest that gets the prefix.
        let long = |length: usize| format!(r"C:\{}", "n".repeat(length - 3));
        assert_eq!(call(&long(247))?, long(247));
        assert_eq!(call(&long(248))?, format!(r"\\?\{}", long(248)));
        assert_eq!(call(r"short\program.exe")?, r"short\program.exe");
        Ok(())
    }

    #[test]
    fn files_tries_the_name_with_exe_first() {
        let names =
            |path: &str| files(Path::new(path)).map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(names("program"), ["program.exe", "program"]);
        assert_eq!(names("program.1"), ["program.1.exe", "program.1"]);
        assert_eq!(names("program.exe"), ["program.exe"]);
        assert_eq!(names(r"C:\a.b\PROGRAM.Exe"), [r"C:\a.b\PROGRAM.Exe"]);
    }

    #[test]
    fn is_batch_file_checks_the_extension() {
        for name in ["a.bat", "A.BAT", "a.cmd", "a.Cmd", "a.bat.", "a.bat . ", r"folder.exe\a.cmd"] {
            assert!(is_batch_file(Path::new(name)), "{name}");
        }
        for name in ["a.exe", "bat", "a.bat.exe", "a.com", "cmd.exe"] {
            assert!(!is_batch_file(Path::new(name)), "{name}");
        }
    }
}
