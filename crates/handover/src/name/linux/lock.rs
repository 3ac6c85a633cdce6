//! `NameLock`: a name that only one process can hold at a time.
//!
//! Each name has two files in the user's runtime directory: a lock file, which is locked while the name is in use, and
//! a socket, by which other processes connect to the holder. When the holder exits, crashes or is killed, the kernel
//! releases its lock. The next holder removes files that remained.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handle::shortened;
use crate::name::text::on_linux::{Sort, lock_of, socket, socket_of_lock};
use crate::sys::SysError;
use crate::sys::creator::Creator;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::lock::{LockFile, try_lock};
use crate::sys::size_limit::check_file_size;
use crate::sys::{Answered, Argument, SysResult, always, ask, call, unix_socket, user};

/// The content of the lock file of a name that is held without a server, as a single instance holds it.
const UNSERVED: &[u8] = b"1";

/// Returns whether the name is marked as held without a server, so no object can be requested under it.
pub(super) fn is_unserved(name: &str) -> bool {
    Paths::of(Sort::Object, name)
        .is_ok_and(|paths| metadata_of(&paths.lock).is_ok_and(|metadata| metadata.len() > 0))
}

/// A name that this process holds. Dropping it frees the name.
#[derive(Debug)]
pub(crate) struct NameLock {
    paths: Paths,
    /// The open lock file, which holds the lock.
    file: LockFile,
    was_abandoned: bool,
    creator: Creator,
}

impl NameLock {
    /// Takes the name. Returns `None` if it is in use.
    pub(crate) fn take(sort: Sort, name: &str) -> Result<Option<Self>> {
        static SWEPT: Once = Once::new();
        let paths = Paths::of(sort, name)?;
        // Files that can't be removed don't affect this name, so errors are ignored.
        SWEPT.call_once(|| drop(sweep(&paths)));
        let mut is_first = true;
        let failed = || failed(name);
        loop {
            let file = open_or_create(&paths.lock).map_err(failed())?;
            match try_lock(&file) {
                Ok(true) => {}
                // Another process may hold the lock only for a moment, to sweep. Try once more.
                Ok(false) if is_first => {
                    is_first = false;
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Ok(false) => return Ok(None),
                Err(error) => return Err(failed()(error)),
            }
            // The previous holder may have removed the file after this process opened it. Then the lock is on a deleted
            // file and doesn't protect the name.
            if !is_same(&file, &paths.lock).map_err(failed())? {
                continue;
            }
            match call("unlink", &[("path", paths.socket.as_path().into())], || {
                std::fs::remove_file(&paths.socket)
            }) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
                _ => {
                    // Only a file with content was abandoned. An empty one may just have been created by another
                    // process that hasn't locked it yet.
                    let was_abandoned = metadata_of_open(&file).map_err(failed())?.len() > 0;
                    call("ftruncate", &[("handle", file.handle().into()), ("size", 0_u32.into())], || {
                        file.set_len(0)
                    })
                    .map_err(failed())?;
                    let creator = Creator::this_process();
                    return Ok(Some(Self { paths, file, was_abandoned, creator }));
                }
            }
        }
    }

    /// Marks the name as held without a server.
    ///
    /// If this process exits without dropping the lock, the mark stays in the file. It tells the next holder that the
    /// name was abandoned, and keeps the file from being swept.
    pub(super) fn mark_unserved(&mut self) -> SysResult<()> {
        check_file_size("write", UNSERVED.len() as u64)?;
        let mut file: &File = &self.file;
        let arguments = [("handle", file.handle().into()), ("", Argument::Bytes(UNSERVED))];
        call("write", &arguments, || file.write_all(UNSERVED))
    }

    /// Creates the socket by which other processes of this user connect.
    pub(crate) fn listen(&self) -> SysResult<Owned> {
        let path = &self.paths.socket;
        unix_socket::listen(path, || set_mode(path, PRIVATE_FILE))
    }

    /// Returns whether the previous holder [marked](Self::mark_unserved) the name and exited without freeing it.
    pub(super) fn was_abandoned(&self) -> bool {
        self.was_abandoned
    }
}

impl Drop for NameLock {
    fn drop(&mut self) {
        if !self.creator.is_this_process() {
            return;
        }
        // If the folder was cleaned, another process may have the name by now, and the files are its own. While the path
        // leads to the file that this process has locked, no other process can take the name.
        if is_same(&self.file, &self.paths.lock).unwrap_or(false) {
            // Files that can't be removed don't block the name, so errors are ignored.
            let _ = remove(&self.paths.socket);
            let _ = remove(&self.paths.lock);
        }
    }
}

/// Returns the path of the socket by which to connect to the holder of a name. The name may be free.
pub(crate) fn socket_of(sort: Sort, name: &str) -> Result<PathBuf> {
    Paths::of(sort, name).map(|paths| paths.socket)
}

/// Removes the files of names whose holders were killed, if the names haven't been taken since.
///
/// Only empty lock files that are at least a day old are removed. A newer one may belong to a process that is about to
/// take the name. One with content tells the next holder that the name was abandoned.
fn sweep(paths: &Paths) -> io::Result<()> {
    const MINIMUM_AGE: Duration = Duration::from_secs(24 * 60 * 60);
    for entry in std::fs::read_dir(paths.folder())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(socket) = name.to_str().and_then(socket_of_lock) else { continue };
        let path = entry.path();
        let is_old = |metadata: Metadata| {
            metadata.is_file()
                && metadata.len() == 0
                && metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > MINIMUM_AGE))
        };
        if path == paths.lock || !metadata_of(&path).is_ok_and(is_old) {
            continue;
        }
        // The file stays locked until it is removed. If the path now leads to another file, that one may be in use, so
        // it is left alone.
        let Ok(file) = LockFile::open(&path, OpenOptions::new().read(true)) else { continue };
        if try_lock(&file).unwrap_or(false) && is_same(&file, &path).unwrap_or(false) {
            // The lock file is removed last, so a process that takes the name in between finds a valid state.
            let _ = remove(&paths.folder().join(socket));
            let _ = remove(&path);
        }
    }
    Ok(())
}

/// Returns whether the path still leads to this open file.
fn is_same(file: &File, path: &Path) -> SysResult<bool> {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let id_at_path = match metadata_of(path) {
        Ok(metadata) => id(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(id(metadata_of_open(file)?) == id_at_path)
}

fn metadata_of_open(file: &File) -> SysResult<Metadata> {
    let metadata = ask("fstat", &[("handle", file.handle().into())], || file.metadata().map(Answered));
    metadata.map(|Answered(metadata)| metadata)
}

/// Opens a lock file, and creates it if it doesn't exist.
fn open_or_create(path: &Path) -> SysResult<LockFile> {
    let open = || {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(PRIVATE_FILE);
        LockFile::open(path, &mut options)
    };
    let file = match open() {
        // The process that created the file had an unusual umask, and hasn't set the mode, or was killed before.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            set_mode(path, PRIVATE_FILE)?;
            open()?
        }
        other => other?,
    };
    if metadata_of_open(&file)?.mode() & MODE != PRIVATE_FILE {
        call("fchmod", &[("handle", file.handle().into()), ("mode", Argument::Flags(PRIVATE_FILE))], || {
            file.set_permissions(Permissions::from_mode(PRIVATE_FILE))
        })?;
    }
    Ok(file)
}

/// The bits of a file's mode that this crate sets exactly, because a process's umask can take any of them away.
const MODE: u32 = 0o7777;
/// The sticky bit keeps cleaners away from a file of the runtime directory that is older than six hours, as the XDG
/// base directory specification says.
const PRIVATE_FILE: u32 = 0o1600;
const PRIVATE_FOLDER: u32 = 0o1700;

/// Sets the mode of a path in a folder that only this user can change.
fn set_mode(path: &Path, mode: u32) -> SysResult<()> {
    call("chmod", &[("path", path.into()), ("mode", Argument::Flags(mode))], || {
        std::fs::set_permissions(path, Permissions::from_mode(mode))
    })
}

fn remove(path: &Path) -> SysResult<()> {
    always("unlink", &[("path", path.into())], || std::fs::remove_file(path))
}

/// Returns the metadata of a path, of the link itself if it is one.
fn metadata_of(path: &Path) -> SysResult<Metadata> {
    let metadata = ask("lstat", &[("path", path.into())], || std::fs::symlink_metadata(path).map(Answered));
    metadata.map(|Answered(metadata)| metadata)
}

/// The paths of a name's two files.
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
            let reason = format!(
                "is too long by {} bytes; use a shorter name, or set XDG_RUNTIME_DIR to a folder with a shorter path",
                length - unix_socket::LONGEST_PATH
            );
            return Err(Error::invalid(format!("the name {:?}", shortened(name)), reason));
        }
        Ok(Self { lock: directory.join(lock_of(&file)), socket })
    }
}

impl Paths {
    fn folder(&self) -> &Path {
        self.lock.parent().unwrap_or(&self.lock)
    }
}

/// Returns the folder for sockets and lock files, to which only this user has access. Creates it if necessary.
fn directory() -> SysResult<PathBuf> {
    let user = user::current();
    let is_ours = |folder: &Path| {
        let found = ask("stat", &[("path", folder.into())], || std::fs::metadata(folder).map(Answered));
        match found {
            Ok(Answered(metadata)) => Ok(metadata.is_dir() && metadata.uid() == user),
            // Other errors, such as a lack of memory, must not lead to another folder: this process would then miss the
            // holder of a name.
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    };
    let configured =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let conventional = || PathBuf::from(format!("/run/user/{user}"));
    let mut directory = PathBuf::from(format!("/tmp/handover-{user}"));
    // Another user can make a folder in /tmp first, and so deny all names. Only root can write to /run.
    let of_root = (user == 0).then(|| PathBuf::from("/run"));
    for runtime in configured.into_iter().chain([conventional()]).chain(of_root) {
        if is_ours(&runtime)? {
            directory = runtime.join("handover");
            break;
        }
    }
    let make = || match std::fs::DirBuilder::new().mode(PRIVATE_FOLDER).create(&directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    call("mkdir", &[("path", directory.as_path().into())], make)?;
    // In a folder that all users can write to, another user may have created the directory or a link in its place.
    let metadata = metadata_of(&directory)?;
    let fault = if !metadata.is_dir() {
        "is not a folder".to_owned()
    } else if metadata.uid() != user {
        format!("belongs to user {}", metadata.uid())
    } else if metadata.mode() & 0o077 != 0 {
        format!("can be accessed by other users (mode {:o})", metadata.mode() & 0o777)
    } else {
        // This process may have created the folder under an unusual umask, or another one that was killed then.
        if metadata.mode() & MODE != PRIVATE_FOLDER {
            set_mode(&directory, PRIVATE_FOLDER)?;
        }
        return Ok(directory);
    };
    let reason = format!(
        "the folder {directory:?} for names {fault}, but only the current user may have access; remove the folder, or set \
         XDG_RUNTIME_DIR to a folder of the current user",
    );
    Err(SysError::new("mkdir", io::Error::new(io::ErrorKind::PermissionDenied, reason)))
}

/// Returns a closure that turns a failed call for a name into an [`Error`].
pub(super) fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let context = format!("the name {name:?}");
    move |error| Error::system(context, error)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn take_returns_none_until_the_holder_drops_the_name() -> Result<()> {
        let name = format!("lock-{}", std::process::id());
        let lock = NameLock::take(Sort::Object, &name)?.expect("the name is free");
        assert!(!lock.was_abandoned());
        assert!(NameLock::take(Sort::Object, &name)?.is_none());
        assert!(NameLock::take(Sort::Listener, &name)?.is_some());
        assert!(!is_unserved(&name), "the name isn't marked");
        let paths = Paths::of(Sort::Object, &name)?;
        assert!(paths.lock.exists());
        drop(lock);
        assert!(!paths.lock.exists());
        // The files that remain when a process that serves a name is killed.
        File::create(&paths.lock).expect("the folder is writable");
        File::create(&paths.socket).expect("the folder is writable");
        let mut lock = NameLock::take(Sort::Object, &name)?.expect("the name is free");
        assert!(!lock.was_abandoned() && !paths.socket.exists(), "the name wasn't marked");
        lock.mark_unserved().expect("the lock file is writable");
        assert!(is_unserved(&name));
        let content = std::fs::read(&paths.lock).expect("the lock file exists");
        drop(lock);
        std::fs::write(&paths.lock, content).expect("the folder is writable");
        assert!(NameLock::take(Sort::Object, &name)?.expect("the name is free").was_abandoned());
        assert!(!is_unserved(&name));
        Ok(())
    }

    #[test]
    fn sweep_removes_only_unlocked_empty_files_older_than_a_day() -> Result<()> {
        let name = |role: &str| format!("sweep-{role}-{}", std::process::id());
        let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
        let held = NameLock::take(Sort::Object, &name("held"))?.expect("the name is free");
        let of = |role: &str| Paths::of(Sort::Object, &name(role));
        let (own, new, abandoned, stale) = (of("own")?, of("new")?, of("abandoned")?, of("stale")?);
        for (paths, content) in [(&own, ""), (&new, ""), (&abandoned, "1"), (&stale, "")] {
            File::create(&paths.socket).expect("the folder is writable");
            std::fs::write(&paths.lock, content).expect("the folder is writable");
        }
        for paths in [&held.paths, &own, &abandoned, &stale] {
            let lock = OpenOptions::new().write(true).open(&paths.lock).expect("the lock file exists");
            lock.set_modified(old).expect("the file belongs to this user");
        }
        sweep(&own).expect("the folder is readable");
        assert!(held.paths.lock.exists(), "the name is in use");
        assert!(!stale.lock.exists() && !stale.socket.exists());
        for (paths, reason) in
            [(&own, "is about to be taken"), (&new, "is new"), (&abandoned, "records an abandoned name")]
        {
            for path in [&paths.lock, &paths.socket] {
                assert!(path.exists(), "{} {reason}", path.display());
                std::fs::remove_file(path).expect("the folder is writable");
            }
        }
        Ok(())
    }

    #[test]
    fn take_says_by_how_much_a_name_is_too_long() {
        let error = NameLock::take(Sort::Object, &"n".repeat(200)).expect_err("too long").to_string();
        assert!(error.contains("too long by"), "{error}");
    }

    #[test]
    fn paths_accept_exactly_the_longest_name() -> Result<()> {
        let longest = unix_socket::LONGEST_PATH - Paths::of(Sort::Object, "")?.socket.as_os_str().len();
        assert!(Paths::of(Sort::Object, &"n".repeat(longest)).is_ok());
        assert!(Paths::of(Sort::Object, &"n".repeat(longest + 1)).is_err());
        Ok(())
    }

    #[test]
    fn is_same_compares_the_open_file_with_the_path() -> Result<()> {
        let held =
            NameLock::take(Sort::Object, &format!("same-{}", std::process::id()))?.expect("the name is free");
        let path = &held.paths.lock;
        let file = File::open(path).expect("the lock file exists");
        let is_same = |file: &File| is_same(file, path).expect("the metadata is readable");
        assert!(is_same(&file));
        std::fs::remove_file(path).expect("the folder is writable");
        assert!(!is_same(&file), "the path leads to no file");
        let other = File::create(path).expect("the folder is writable");
        assert!(!is_same(&file) && is_same(&other));
        Ok(())
    }

    #[test]
    fn take_fails_if_the_socket_path_cannot_be_removed() -> Result<()> {
        let name = format!("stuck-{}", std::process::id());
        let paths = Paths::of(Sort::Object, &name)?;
        std::fs::create_dir(&paths.socket).expect("the folder is writable");
        let outcome = NameLock::take(Sort::Object, &name);
        std::fs::remove_dir(&paths.socket).expect("the directory is empty");
        let _ = std::fs::remove_file(&paths.lock);
        assert!(matches!(outcome, Err(Error::System { call: "unlink", .. })), "{outcome:?}");
        Ok(())
    }
}
