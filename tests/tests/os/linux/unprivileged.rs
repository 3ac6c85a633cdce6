//! A copy of this program that each user can start.

use std::fs::{Permissions, copy, create_dir, remove_dir_all, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use handover_tests::this_program;

/// The user "nobody".
pub(super) const NOBODY: u32 = 65534;

/// A folder that all users can read, with a copy of this program; removed on drop.
pub(super) struct PublicCopy(PathBuf);

impl PublicCopy {
    pub(super) fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("handover-{test}-{}", std::process::id()));
        create_dir(&folder).unwrap();
        let public_copy = Self(folder);
        copy(this_program(), public_copy.program()).unwrap();
        for path in [public_copy.folder(), &public_copy.program()] {
            set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        public_copy
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    pub(super) fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

impl Drop for PublicCopy {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}
