//! Finding the file of a program.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf, Prefix};

use crate::error::{Error, Result};
use crate::sys::text::{system_directory, windows_directory};
use crate::sys::{SysError, SysResult};

/// The file of a program, looked for in these places:
///
/// - A path (anything with a separator or a drive) is taken as it is, relative ones from this process's
///   current directory.
/// - A bare name is looked for in the child's `PATH`, if the builder sets one, in the folder of the running
///   program, in the system's two folders and in this process's `PATH`. The current directory is not
///   searched, and entries of a `PATH` that aren't absolute are passed over, because they would bring it in.
///
/// In each place the name with `.exe` is tried first, unless it ends so.
pub(super) fn find(program: &OsStr, child_path: Option<&OsStr>) -> Result<PathBuf> {
    let name = Path::new(program);
    // There is one file that it can be: whether it is there, the call that starts it says soonest.
    if name.is_absolute() && ends_in_exe(name) {
        return Ok(name.to_path_buf());
    }
    let looked_at: Vec<PathBuf> = match is_bare(name) {
        true => folders(child_path)?.flat_map(|folder| files(&folder.join(name))).collect(),
        false => files(name).collect(),
    };
    match looked_at.iter().find(|file| file.is_file()) {
        Some(file) => Ok(file.clone()),
        None => Err(Error::ProgramNotFound {
            program: program.to_string_lossy().into_owned(),
            searched: looked_at,
        }),
    }
}

fn is_bare(name: &Path) -> bool {
    let mut components = name.components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        && !name.as_os_str().as_encoded_bytes().ends_with(b"\\")
        && !name.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn folders(child_path: Option<&OsStr>) -> Result<impl Iterator<Item = PathBuf>> {
    // Without one of them, another program of the name might be found behind it.
    let failed = |error| Error::system("the folders of programs", error);
    let system = system_directory().map_err(failed)?;
    let windows = windows_directory().map_err(failed)?;
    let own_folder = std::env::current_exe().ok().and_then(|file| file.parent().map(Path::to_path_buf));
    let split = |path: OsString| std::env::split_paths(&path).collect::<Vec<_>>();
    let path = std::env::var_os("PATH").map(split).unwrap_or_default();
    let child_path = child_path.map(|path| split(path.to_owned())).unwrap_or_default();
    let all = child_path.into_iter().chain(own_folder).chain([system, windows]).chain(path);
    Ok(all.filter(|folder| folder.is_absolute()))
}

/// The names that a file may have.
fn files(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let as_it_is = path.to_path_buf();
    let with_exe = (!ends_in_exe(path)).then(|| {
        let mut name = path.as_os_str().to_owned();
        name.push(".exe");
        PathBuf::from(name)
    });
    with_exe.into_iter().chain([as_it_is])
}

fn ends_in_exe(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("exe"))
}

/// The path as `CreateProcessW` takes it: a long one has to be absolute and marked as one that is not to be
/// touched.
pub(super) fn for_the_call(file: &Path) -> SysResult<PathBuf> {
    /// With room for what the system itself appends.
    const SHORT: usize = 248;
    let absolute = std::path::absolute(file).map_err(SysError::of("GetFullPathNameW"))?;
    if absolute.as_os_str().len() < SHORT {
        return Ok(file.to_path_buf());
    }
    let Some(Component::Prefix(prefix)) = absolute.components().next() else { return Ok(absolute) };
    let (mark, rest) = match prefix.kind() {
        Prefix::Disk(_) => (r"\\?\", absolute.as_os_str().to_owned()),
        Prefix::UNC(..) => {
            // Its own two separators are part of the mark.
            let units: Vec<u16> = absolute.as_os_str().encode_wide().skip(2).collect();
            (r"\\?\UNC\", OsString::from_wide(&units))
        }
        _ => return Ok(absolute),
    };
    let mut marked = OsString::from(mark);
    marked.push(rest);
    Ok(marked.into())
}

/// Whether the system would start `cmd.exe` for this file. It passes over dots and spaces at the end of a
/// name.
pub(super) fn is_batch_file(file: &Path) -> bool {
    let name = file.as_os_str().to_string_lossy();
    let name = name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    name.ends_with(".bat") || name.ends_with(".cmd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_marked() -> std::io::Result<()> {
        let call = |path: &str| {
            Ok::<_, std::io::Error>(for_the_call(Path::new(path))?.to_string_lossy().into_owned())
        };
        let deep = format!(r"{}program.exe", r"a folder\".repeat(40));
        assert_eq!(call(r"C:\short\program.exe")?, r"C:\short\program.exe");
        assert_eq!(call(&format!(r"C:\{deep}"))?, format!(r"\\?\C:\{deep}"));
        assert_eq!(call(&format!(r"\\server\share\{deep}"))?, format!(r"\\?\UNC\server\share\{deep}"));
        assert_eq!(call(&format!(r"\\?\C:\{deep}"))?, format!(r"\\?\C:\{deep}"));
        assert!(call(&deep)?.starts_with(r"\\?\"));
        // The longest that stays, and the shortest that doesn't.
        let long = |length: usize| format!(r"C:\{}", "n".repeat(length - 3));
        assert_eq!(call(&long(247))?, long(247));
        assert_eq!(call(&long(248))?, format!(r"\\?\{}", long(248)));
        assert_eq!(call(r"short\program.exe")?, r"short\program.exe");
        Ok(())
    }

    #[test]
    fn a_name_may_lack_its_extension() {
        let names =
            |path: &str| files(Path::new(path)).map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(names("program"), ["program.exe", "program"]);
        assert_eq!(names("program.1"), ["program.1.exe", "program.1"]);
        assert_eq!(names("program.exe"), ["program.exe"]);
        assert_eq!(names(r"C:\a.b\PROGRAM.Exe"), [r"C:\a.b\PROGRAM.Exe"]);
    }

    #[test]
    fn a_batch_file_is_known_by_its_name() {
        for name in ["a.bat", "A.BAT", "a.cmd", "a.Cmd", "a.bat.", "a.bat . ", r"folder.exe\a.cmd"] {
            assert!(is_batch_file(Path::new(name)), "{name}");
        }
        for name in ["a.exe", "bat", "a.bat.exe", "a.com", "cmd.exe"] {
            assert!(!is_batch_file(Path::new(name)), "{name}");
        }
    }
}
