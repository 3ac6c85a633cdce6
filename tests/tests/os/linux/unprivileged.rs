//! This program where every user can start it.

use std::fs::{Permissions, copy, create_dir, remove_dir_all, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use handover_tests::this_program;

/// The user who has nothing.
pub(super) const NOBODY: u32 = 65534;

/// A folder that everybody can look into, with a copy of this program; gone with the test.
pub(super) struct Everybodys(PathBuf);

impl Everybodys {
    pub(super) fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("handover-{test}-{}", std::process::id()));
        create_dir(&folder).unwrap();
        let everybodys = Self(folder);
        copy(this_program(), everybodys.program()).unwrap();
        for path in [everybodys.folder(), &everybodys.program()] {
            set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        everybodys
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    pub(super) fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

impl Drop for Everybodys {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}
