//! As whom the server runs.

use super::error::{LocalError, file};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user whom the server runs as, where it isn't whoever runs this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// Whom to run the server as: nobody else unless root runs this.
pub(super) fn unprivileged() -> Result<Option<User>, LocalError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let passwd = fs::read_to_string(path).map_err(file("read", path))?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| parse(&passwd, name))
        .map(Some)
        .ok_or(LocalError::NoUser)
}

/// Whether whom a server has to run as can get to this directory, which must exist.
///
/// # Errors
/// [`LocalError::Unreachable`] if not; others if that can't be told.
pub fn check_directory(directory: &Path) -> Result<(), LocalError> {
    unprivileged()?.map_or(Ok(()), |user| user.reaches(directory))
}

fn parse(passwd: &str, wanted: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == wanted)?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then(|| User {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

impl User {
    /// Lets `command` run as this user.
    pub(super) fn runs(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives this user a file or directory.
    pub(super) fn owns(&self, path: &Path) -> Result<(), LocalError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(file("change the owner of", path))
    }

    /// Whether this user can get to `directory`, which must exist.
    pub(super) fn reaches(&self, directory: &Path) -> Result<(), LocalError> {
        let absolute = fs::canonicalize(directory).map_err(file("find", directory))?;
        let mut ancestors: Vec<&Path> = absolute.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let metadata = fs::metadata(ancestor).map_err(file("look at", ancestor))?;
            let enter = match (metadata.uid() == self.uid, metadata.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if metadata.mode() & enter == 0 {
                return Err(LocalError::Unreachable {
                    user: self.name.clone(),
                    directory: ancestor.to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_only_its_owner_enters_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let private = tempfile::tempdir().unwrap();
        let inside = private.path().join("inside");
        fs::create_dir(&inside).unwrap();
        fs::set_permissions(private.path(), fs::Permissions::from_mode(0o700)).unwrap();
        if rustix::process::geteuid().is_root() {
            let error = check_directory(&inside).unwrap_err();
            let found = private.path().canonicalize().unwrap();
            assert!(
                matches!(&error, LocalError::Unreachable { directory, .. } if *directory == found),
                "{error}"
            );
        }
        for path in [private.path(), &inside] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap();
        }
        check_directory(&inside).unwrap();
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgresx:x:7:7::/:/bin/sh\n\
                      postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        let user = parse(passwd, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert_eq!(parse(passwd, "nobody"), None);
        assert_eq!(parse(passwd, "root"), None, "root is no way out");
    }
}
