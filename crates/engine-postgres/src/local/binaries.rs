//! Where the server's programs are.

use super::error::LocalError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names the directory of the binaries to use.
pub const BINARIES_VARIABLE: &str = "MERIDIAN_POSTGRES_BIN";

/// Where Debian and Ubuntu keep each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The server's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Finds `initdb` and `postgres`: in `explicit` and nowhere else if it is given; otherwise in the
    /// directory that [`BINARIES_VARIABLE`] names and nowhere else if it is set; otherwise where
    /// `pg_config` says, in `/usr/lib/postgresql/*/bin`, newest first, and on the `PATH`.
    ///
    /// # Errors
    /// [`LocalError::Binaries`].
    pub fn find(explicit: Option<&Path>) -> Result<Self, LocalError> {
        let named = explicit
            .map(Path::to_owned)
            .or_else(|| std::env::var_os(BINARIES_VARIABLE).map(PathBuf::from));
        match named {
            Some(directory) => first_of([directory]),
            None => first_of(
                of_pg_config()
                    .into_iter()
                    .chain(versions_in(Path::new(DEBIAN)))
                    .chain(of_path()),
            ),
        }
    }

    /// The directory that they are in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// One of them.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The first of these directories with what is needed.
fn first_of(directories: impl IntoIterator<Item = PathBuf>) -> Result<Binaries, LocalError> {
    let mut looked = Vec::new();
    for directory in directories {
        if ["initdb", "postgres"]
            .iter()
            .all(|program| directory.join(program).is_file())
        {
            return Ok(Binaries { directory });
        }
        looked.push(directory.display().to_string());
    }
    Err(LocalError::Binaries { looked })
}

fn of_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !directory.trim().is_empty())
        .then(|| PathBuf::from(directory.trim()))
}

/// `ROOT/VERSION/bin`, newest version first.
fn versions_in(root: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions
        .into_iter()
        .map(|(_, directory)| directory)
        .collect()
}

fn of_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_by_number() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "18", "not-a-version"] {
            std::fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found = versions_in(root.path());
        let expected = ["18", "15", "9"].map(|version| root.path().join(version).join("bin"));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_directory_that_is_named_is_the_only_one_looked_at() {
        let empty = tempfile::tempdir().unwrap();
        let error = Binaries::find(Some(empty.path())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&*empty.path().display().to_string()),
            "{error}"
        );
        assert!(error.hint().unwrap().contains(BINARIES_VARIABLE));
        for program in ["initdb", "postgres"] {
            std::fs::write(empty.path().join(program), "").unwrap();
        }
        let binaries = Binaries::find(Some(empty.path())).unwrap();
        assert_eq!(binaries.program("initdb"), empty.path().join("initdb"));
    }
}
