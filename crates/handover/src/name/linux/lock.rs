//! A name that one process has at a time.
//!
//! In the user's runtime directory there are two files for it: one that is locked as long as the name is in use, and a
//! socket through which others reach whoever uses it. The system takes the lock off a process that ends, however it
//! ends, and the next one who takes the name removes what was left.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::name::text::on_linux::{Sort, lock_of, socket, socket_of_lock};
use crate::sys::SysError;
use crate::sys::io::HasHandle;
use crate::sys::lock::{LockFile, try_lock};
use crate::sys::{Answered, Argument, SysResult, always, ask, call, unix_socket, user};

/// What stands in the file of a name that nobody serves.
const KEPT: &[u8] = b"1";

/// Whether somebody has the name whom nobody can ask for anything.
pub(super) fn is_kept(name: &str) -> bool {
    Paths::of(Sort::Object, name)
        .is_ok_and(|paths| metadata_of(&paths.lock).is_ok_and(|metadata| metadata.len() > 0))
}

/// The name is this process's as long as this lives.
#[derive(Debug)]
pub(crate) struct NameLock {
    paths: Paths,
    /// What it takes for the lock to be on.
    file: LockFile,
    was_left: bool,
}

impl NameLock {
    /// Takes the name; `None` if somebody has it.
    pub(crate) fn take(sort: Sort, name: &str) -> Result<Option<Self>> {
        static SWEPT: Once = Once::new();
        let paths = Paths::of(sort, name)?;
        // What can't be swept is in nobody's way.
        SWEPT.call_once(|| drop(sweep(&paths)));
        let mut is_first = true;
        let failed = || failed(name);
        loop {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true).mode(0o600);
            let file = LockFile::open(&paths.lock, &mut options).map_err(failed())?;
            match try_lock(&file) {
                Ok(true) => {}
                // Somebody may only be sweeping.
                Ok(false) if is_first => {
                    is_first = false;
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Ok(false) => return Ok(None),
                Err(error) => return Err(failed()(error)),
            }
            // Whoever had it may have removed the file just before that, and then the lock is on nothing.
            if !is_same(&file, &paths.lock).map_err(failed())? {
                continue;
            }
            match call("unlink", &[("path", paths.socket.as_path().into())], || {
                std::fs::remove_file(&paths.socket)
            }) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
                _ => {
                    // One that has just been made by somebody who hasn't locked it yet was left by nobody.
                    let was_left = metadata_of_open(&file).map_err(failed())?.len() > 0;
                    call("ftruncate", &[("handle", file.handle().into()), ("size", 0_u32.into())], || {
                        file.set_len(0)
                    })
                    .map_err(failed())?;
                    return Ok(Some(Self { paths, file, was_left }));
                }
            }
        }
    }

    /// Notes that nobody serves the name, and that whoever takes it next may want to know what became of this one: it is
    /// not swept.
    pub(super) fn keep(&mut self) -> SysResult<()> {
        let mut file: &File = &self.file;
        let arguments = [("handle", file.handle().into()), ("", Argument::Bytes(KEPT))];
        call("write", &arguments, || file.write_all(KEPT))
    }

    /// Where others connect.
    pub(crate) fn socket(&self) -> &Path {
        &self.paths.socket
    }

    /// Whether the last one who had the name, and [kept](Self::keep) it, ended without giving it back.
    pub(super) fn was_left(&self) -> bool {
        self.was_left
    }
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // While the lock is on, so that nobody else's are removed. What can't be removed is in nobody's way.
        let _ = remove(&self.paths.socket);
        let _ = remove(&self.paths.lock);
    }
}

/// Where others connect to whoever has the name, if anybody has.
pub(crate) fn socket_of(sort: Sort, name: &str) -> Result<PathBuf> {
    Paths::of(sort, name).map(|paths| paths.socket)
}

/// Removes what processes have left that were killed, and whose names nobody has taken since. What is there for a day is
/// as old as that: whoever asks whether the last one has crashed asks sooner, and nobody is about to take the name.
fn sweep(paths: &Paths) -> io::Result<()> {
    const OLD: Duration = Duration::from_secs(24 * 60 * 60);
    for entry in std::fs::read_dir(paths.folder())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(socket) = name.to_str().and_then(socket_of_lock) else { continue };
        let path = entry.path();
        let is_old = |metadata: Metadata| {
            metadata.is_file()
                && metadata.len() == 0
                && metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > OLD))
        };
        if path == paths.lock || !metadata_of(&path).is_ok_and(is_old) {
            continue;
        }
        // Locked until it is gone. If it has been given back since, there is another of its name, which is somebody's.
        let Ok(file) = LockFile::open(&path, OpenOptions::new().read(true)) else { continue };
        if try_lock(&file).unwrap_or(false) && is_same(&file, &path).unwrap_or(false) {
            // Of the two, the lock goes last: whoever comes in between finds the name as it would be anyway.
            let _ = remove(&paths.folder().join(socket));
            let _ = remove(&path);
        }
    }
    Ok(())
}

/// Whether this file is still that of the path.
fn is_same(file: &File, path: &Path) -> SysResult<bool> {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let there = match metadata_of(path) {
        Ok(there) => id(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(id(metadata_of_open(file)?) == there)
}

fn metadata_of_open(file: &File) -> SysResult<Metadata> {
    let metadata = ask("fstat", &[("handle", file.handle().into())], || file.metadata().map(Answered));
    metadata.map(|Answered(metadata)| metadata)
}

fn remove(path: &Path) -> SysResult<()> {
    always("unlink", &[("path", path.into())], || std::fs::remove_file(path))
}

/// Of the link, if it is one.
fn metadata_of(path: &Path) -> SysResult<Metadata> {
    let metadata = ask("lstat", &[("path", path.into())], || std::fs::symlink_metadata(path).map(Answered));
    metadata.map(|Answered(metadata)| metadata)
}

#[derive(Debug)]
struct Paths {
    lock: PathBuf,
    socket: PathBuf,
}

impl Paths {
    fn of(sort: Sort, name: &str) -> Result<Self> {
        let file = socket(sort, name);
        let directory = directory().map_err(failed(name))?;
        let socket = directory.join(&file);
        let length = socket.as_os_str().len();
        if length > unix_socket::LONGEST_PATH {
            let why = format!(
                "is too long by {} bytes: it is a part of the path of a socket, which has at most {} bytes",
                length - unix_socket::LONGEST_PATH,
                unix_socket::LONGEST_PATH
            );
            return Err(Error::invalid(format!("the name {name:?}"), why));
        }
        Ok(Self { lock: directory.join(lock_of(&file)), socket })
    }
}

impl Paths {
    fn folder(&self) -> &Path {
        self.lock.parent().unwrap_or(&self.lock)
    }
}

/// The folder for sockets and locks, which is this user's alone; or which call has failed, and why.
fn directory() -> SysResult<PathBuf> {
    let user = user::current();
    let is_ours = |folder: &Path| {
        let found = ask("stat", &[("path", folder.into())], || std::fs::metadata(folder).map(Answered));
        match found {
            Ok(Answered(metadata)) => Ok(metadata.is_dir() && metadata.uid() == user),
            // Not for want of memory, say: whoever has the name would be looked for elsewhere.
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    };
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let usual = || PathBuf::from(format!("/run/user/{user}"));
    let mut directory = PathBuf::from(format!("/tmp/handover-{user}"));
    for runtime in named.into_iter().chain([usual()]) {
        if is_ours(&runtime)? {
            directory = runtime.join("handover");
            break;
        }
    }
    let make = || match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    call("mkdir", &[("path", directory.as_path().into())], make)?;
    // Where everybody can write, somebody else may have made it, or a link to it.
    let metadata = metadata_of(&directory)?;
    if metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0 {
        return Ok(directory);
    }
    let why = format!("{} has to be a folder of this user's alone", directory.display());
    Err(SysError::new("mkdir", io::Error::new(io::ErrorKind::PermissionDenied, why)))
}

pub(super) fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let what = format!("the name {name:?}");
    move |error| Error::system(what, error)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_name_is_one_holders_and_free_afterwards() -> Result<()> {
        let name = format!("place-{}", std::process::id());
        let place = NameLock::take(Sort::Object, &name)?.expect("nobody has it");
        assert!(!place.was_left());
        assert!(NameLock::take(Sort::Object, &name)?.is_none());
        assert!(NameLock::take(Sort::Listener, &name)?.is_some());
        assert!(!is_kept(&name), "it can be asked for");
        let paths = Paths::of(Sort::Object, &name)?;
        assert!(paths.lock.exists());
        drop(place);
        assert!(!paths.lock.exists());
        // As a process leaves it that is killed.
        File::create(&paths.lock).expect("the folder is ours");
        File::create(&paths.socket).expect("the folder is ours");
        let mut place = NameLock::take(Sort::Object, &name)?.expect("nobody has it");
        assert!(!place.was_left() && !paths.socket.exists(), "nobody wants to know");
        place.keep().expect("it is ours");
        assert!(is_kept(&name));
        let left = std::fs::read(&paths.lock).expect("it is there");
        drop(place);
        std::fs::write(&paths.lock, left).expect("the folder is ours");
        assert!(NameLock::take(Sort::Object, &name)?.expect("nobody has it").was_left());
        assert!(!is_kept(&name));
        Ok(())
    }

    #[test]
    fn what_is_a_day_old_and_nobodys_is_swept() -> Result<()> {
        let name = |what: &str| format!("sweep-{what}-{}", std::process::id());
        let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
        let held = NameLock::take(Sort::Object, &name("held"))?.expect("nobody has it");
        let of = |what: &str| Paths::of(Sort::Object, &name(what));
        let (own, new, crashed, left) = (of("own")?, of("new")?, of("crashed")?, of("left")?);
        for (paths, text) in [(&own, ""), (&new, ""), (&crashed, "1"), (&left, "")] {
            File::create(&paths.socket).expect("the folder is ours");
            std::fs::write(&paths.lock, text).expect("the folder is ours");
        }
        for paths in [&held.paths, &own, &crashed, &left] {
            let lock = OpenOptions::new().write(true).open(&paths.lock).expect("it is there");
            lock.set_modified(old).expect("it is ours");
        }
        sweep(&own).expect("the folder is ours");
        assert!(held.paths.lock.exists(), "somebody has it");
        assert!(!left.lock.exists() && !left.socket.exists());
        for (paths, why) in [(&own, "is about to be taken"), (&new, "is new"), (&crashed, "is asked for")] {
            for path in [&paths.lock, &paths.socket] {
                assert!(path.exists(), "{} {why}", path.display());
                std::fs::remove_file(path).expect("it is ours");
            }
        }
        Ok(())
    }

    #[test]
    fn a_name_that_is_too_long_says_by_how_much() {
        let error = NameLock::take(Sort::Object, &"n".repeat(200)).expect_err("too long").to_string();
        assert!(error.contains("too long by"), "{error}");
    }

    #[test]
    fn the_longest_name_fits() -> Result<()> {
        let room = unix_socket::LONGEST_PATH - Paths::of(Sort::Object, "")?.socket.as_os_str().len();
        assert!(Paths::of(Sort::Object, &"n".repeat(room)).is_ok());
        assert!(Paths::of(Sort::Object, &"n".repeat(room + 1)).is_err());
        Ok(())
    }

    #[test]
    fn a_file_is_the_one_that_is_there_or_not() -> Result<()> {
        let held =
            NameLock::take(Sort::Object, &format!("same-{}", std::process::id()))?.expect("nobody has it");
        let there = &held.paths.lock;
        let file = File::open(there).expect("it is there");
        let is_same = |file: &File| is_same(file, there).expect("one can look");
        assert!(is_same(&file));
        std::fs::remove_file(there).expect("it is ours");
        assert!(!is_same(&file), "nothing is there");
        let other = File::create(there).expect("the folder is ours");
        assert!(!is_same(&file) && is_same(&other));
        Ok(())
    }

    #[test]
    fn what_can_not_be_removed_is_in_the_way() -> Result<()> {
        let name = format!("stuck-{}", std::process::id());
        let paths = Paths::of(Sort::Object, &name)?;
        std::fs::create_dir(&paths.socket).expect("the folder is ours");
        let refused = NameLock::take(Sort::Object, &name);
        std::fs::remove_dir(&paths.socket).expect("it is ours, and empty");
        let _ = std::fs::remove_file(&paths.lock);
        assert!(matches!(refused, Err(Error::System { call: "unlink", .. })), "{refused:?}");
        Ok(())
    }
}
