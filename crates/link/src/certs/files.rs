//! Writing keys and certificates to disk.
//!
//! A private key that exists is never replaced: a region whose key vanished cannot prove who it is,
//! and nothing brings the old one back. So is a certificate, which is worth nothing beside another
//! key. Renewal writes to new names and the topology is pointed at them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Authority, IdentityPaths, Issued};

/// What a PEM file holds, hence who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemKind {
    /// Readable by all (mode 0644).
    Certificate,
    /// Readable by its owner only (mode 0600).
    Key,
}

/// Why a PEM file was not written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is a file already, and it stays.
    #[error(
        "{} exists and is not overwritten\n\nhint: move it away first, or choose another directory",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Writes a new PEM file durably; an existing file is an error and stays as it is.
pub fn write_pem(path: &Path, pem: &str, kind: PemKind) -> Result<(), FileError> {
    let write_error = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists {
            path: path.to_owned(),
        },
        _ => FileError::Write {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = create_new(path, kind).map_err(write_error)?;
    let written = file
        .write_all(pem.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key would block every later attempt; it was ours, made just now.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(write_error)
}

fn create_new(path: &Path, kind: PemKind) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(match kind {
            PemKind::Certificate => 0o644,
            PemKind::Key => 0o600,
        });
    }
    #[cfg(not(unix))]
    let _ = kind;
    options.open(path)
}

impl Authority {
    /// Where [`Authority::write`] puts the private key.
    pub fn key_path(directory: &Path) -> PathBuf {
        directory.join("authority.key.pem")
    }

    /// Writes `authority.pem` and `authority.key.pem` into a directory that exists.
    pub fn write(&self, directory: &Path) -> Result<(), FileError> {
        write_pem(&Self::key_path(directory), &self.key_pem(), PemKind::Key)?;
        write_pem(
            &IdentityPaths::authority_in(directory),
            self.certificate_pem(),
            PemKind::Certificate,
        )
    }
}

impl Issued {
    /// Writes `REGION.pem` and `REGION.key.pem` into a directory that exists.
    ///
    /// The returned paths expect the authority's certificate in the same directory.
    pub fn write(&self, directory: &Path) -> Result<IdentityPaths, FileError> {
        let paths = IdentityPaths::in_directory(directory, &self.region);
        write_pem(&paths.key, &self.key_pem, PemKind::Key)?;
        write_pem(
            &paths.certificate,
            &self.certificate_pem,
            PemKind::Certificate,
        )?;
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key.pem");
        write_pem(&path, "first", PemKind::Key).unwrap();
        let again = write_pem(&path, "second", PemKind::Key).unwrap_err();
        assert!(matches!(again, FileError::Exists { .. }));
        assert!(again.to_string().contains("hint:"), "{again}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key.pem");
        write_pem(&path, "secret", PemKind::Key).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_directory_says_which_file() {
        let missing = Path::new("/nonexistent/directory/a.pem");
        let error = write_pem(missing, "x", PemKind::Certificate).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/directory/a.pem"));
    }
}
