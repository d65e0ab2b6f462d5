//! The key under which tags are signed: 32 random bytes in a file that only its owner reads.

use rand::Rng;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const BYTES: usize = 32;

/// A key for tags. It belongs to one dataset of one region and never leaves its data directory: a
/// copy of the directory that runs beside the original is a region that takes the other's work for
/// its own.
#[derive(Clone, PartialEq, Eq)]
pub struct TagKey([u8; BYTES]);

/// The key's file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TagKeyError {
    /// It can't be read or written.
    #[error("can't use the tag key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It isn't 32 bytes long.
    #[error(
        "the tag key {path} has {bytes} bytes and not {BYTES}\n\
         hint: restore it from a backup of the data directory; without it this region can't tell \
         what it wrote into the server from what others wrote, and has to be attached anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
}

impl TagKey {
    /// The key in a file, which is made if it isn't there.
    ///
    /// # Errors
    /// [`TagKeyError`] when the file can't be read, can't be made, or is no key.
    pub fn open(path: &Path) -> Result<Self, TagKeyError> {
        let error = |source| TagKeyError::File {
            path: path.to_owned(),
            source,
        };
        match fs::read(path) {
            Ok(bytes) => {
                warn_where_others_read(path);
                let key = <[u8; BYTES]>::try_from(bytes.as_slice());
                key.map(Self).map_err(|_| TagKeyError::Damaged {
                    path: path.to_owned(),
                    bytes: bytes.len(),
                })
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let key = Self::random();
                key.store(path).map_err(error)?;
                Ok(key)
            }
            Err(source) => Err(error(source)),
        }
    }

    /// A new key, kept nowhere.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; BYTES];
        // Seeded by the operating system, and fit for keys.
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    #[cfg(feature = "fuzzing")]
    pub(crate) fn of(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Under another name first: a crash leaves the whole key or none.
    fn store(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let unfinished = path.with_extension("unfinished");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&self.0)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(directory)?.sync_all()
    }
}

fn warn_where_others_read(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{:o}", mode & 0o777),
            "other users of this machine may read the tag key; `chmod 600` it"
        );
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tag.key");
        let key = TagKey::open(&path).unwrap();
        assert_eq!(TagKey::open(&path).unwrap(), key);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        let other = TagKey::open(&directory.path().join("other.key")).unwrap();
        assert_ne!(other, key);
    }

    #[test]
    fn a_key_never_shows_in_what_is_printed() {
        assert_eq!(format!("{:?}", TagKey::random()), "TagKey(…)");
    }

    #[test]
    fn a_file_that_is_no_key_is_told_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tag.key");
        fs::write(&path, b"short").unwrap();
        let error = TagKey::open(&path).unwrap_err();
        assert!(matches!(error, TagKeyError::Damaged { bytes: 5, .. }));
        assert_eq!(fs::read(&path).unwrap(), b"short");
        let error = TagKey::open(directory.path()).unwrap_err();
        assert!(matches!(error, TagKeyError::File { .. }));
    }
}
