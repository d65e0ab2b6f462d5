//! Files that a crash leaves as they were before a change or as they are after it.
//!
//! A file's content is durable once the file is synced, its name once its directory is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Gives a file other bytes: written beside it (`.new` in the place of its extension), synced, and put
/// in its place.
///
/// # Errors
/// As of [`put`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    put(&file, &beside, path)
}

/// Puts a file that has been written `beside` in the place of `path`.
///
/// # Errors
/// Whatever fails before the file is in its place leaves what was there. One failure is left after that:
/// that of the disk to sync the directory. Then the new file is there, and after a power cut either may
/// be, each of them whole; so whoever is told of an error goes on by the old one, and has to be right with
/// the new one after a restart.
pub(crate) fn put(file: &File, beside: &Path, path: &Path) -> io::Result<()> {
    put_in(directory_of(path), file, beside, path)
}

fn put_in(directory: io::Result<File>, file: &File, beside: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    let directory = directory?;
    fs::rename(beside, path)?;
    directory.sync_all()
}

/// Makes a region's data directory, for its user alone: it has every row. One that is there stays as it
/// is.
///
/// # Errors
/// When it can't be made.
pub fn make_data_dir(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes an empty file, which says something by being there.
pub(crate) fn mark(path: &Path) -> io::Result<()> {
    File::create(path)?.sync_all()?;
    sync_name(path)
}

/// Removes such a file, if it is there.
pub(crate) fn unmark(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_name(path),
    }
}

/// Makes a file's name durable, or that it is gone.
pub(crate) fn sync_name(path: &Path) -> io::Result<()> {
    directory_of(path)?.sync_all()
}

/// The directory that a file is in, or is to be.
fn directory_of(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(path);
    // The parent of a bare name is nothing.
    let is_bare = directory.as_os_str().is_empty();
    File::open(if is_bare { Path::new(".") } else { directory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.json");
        replace(&path, b"before").unwrap();
        replace(&path, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        let beside = directory.path().join("file.new");
        assert!(!beside.exists());
        // What can't be written beside it changes nothing.
        fs::create_dir(&beside).unwrap();
        assert!(replace(&path, b"never").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"after");
    }

    #[test]
    fn a_directory_that_cant_be_opened_leaves_the_file_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (path, beside) = (directory.path().join("file"), directory.path().join("new"));
        fs::write(&path, "before").unwrap();
        fs::write(&beside, "after").unwrap();
        let file = File::open(&beside).unwrap();
        let refused = Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(put_in(refused, &file, &beside, &path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        put(&file, &beside, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert!(directory_of(Path::new("bare")).is_ok());
    }

    #[test]
    fn a_data_directory_is_for_its_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data").join("eu-west-1");
        make_data_dir(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        // Somebody else's choice stands.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        make_data_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o750);
        let file = directory.path().join("file");
        mark(&file).unwrap();
        assert!(make_data_dir(&file).is_err());
    }

    #[test]
    fn a_mark_is_there_until_it_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        unmark(&path).unwrap();
        mark(&path).unwrap();
        mark(&path).unwrap();
        assert!(path.exists());
        unmark(&path).unwrap();
        assert!(!path.exists());
    }
}
