//! A disk that fills.

use std::path::Path;
use std::process::{Command, Stdio};

/// A small file system of its own, for as long as this lives.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and a word about it, where this user may not mount.
    pub fn mount(mebibytes: u64) -> Option<Self> {
        Self::mount_for(mebibytes, None)
    }

    /// The same for another user and group alone.
    #[expect(clippy::print_stderr, reason = "a test that can't run here says so")]
    pub fn mount_for(mebibytes: u64, owner: Option<(u32, u32)>) -> Option<Self> {
        let disk = Self(tempfile::tempdir().expect("a directory"));
        let mut options = format!("size={mebibytes}m");
        if let Some((user, group)) = owner {
            options += &format!(",uid={user},gid={group},mode=700");
        }
        if !disk.run(&["-t", "tmpfs", "-o", &options, "tmpfs"]) {
            eprintln!("skipped: this user may not mount a file system");
            return None;
        }
        Some(disk)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn grow(&self, mebibytes: u64) {
        let options = format!("remount,size={mebibytes}m");
        assert!(self.run(&["-o", &options]), "it doesn't grow");
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let mut mount = Command::new("mount");
        let mount = mount.args(arguments).arg(self.path());
        let status = mount.stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("--lazy").arg(self.path()).status();
    }
}
