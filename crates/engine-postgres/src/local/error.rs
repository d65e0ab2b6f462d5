//! What goes wrong with a server of one's own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A local server can't be made, started, or reached.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There are no binaries.
    #[error("no PostgreSQL server found (looked for `initdb` and `postgres` in {})", looked.join(", "))]
    Binaries {
        /// Where they were looked for.
        looked: Vec<String>,
    },
    /// A file or directory.
    #[error("can't {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Root runs this, and there is no other user to run the server as.
    #[error(
        "PostgreSQL doesn't run as root, and /etc/passwd has neither a user postgres nor nobody"
    )]
    NoUser,
    /// The unprivileged user can't get to the directory.
    #[error("the user {user}, as whom the server has to run, can't enter {}", directory.display())]
    Unreachable {
        /// The user.
        user: String,
        /// The first directory on the way that doesn't let it through.
        directory: PathBuf,
    },
    /// A program can't be run at all.
    #[error("can't run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed: {said}")]
    Init {
        /// What it said last.
        said: String,
    },
    /// The server ended instead of getting ready.
    #[error("the server in {} ended ({status}): {said}", directory.display())]
    Ended {
        /// The cluster's directory.
        directory: PathBuf,
        /// How.
        status: String,
        /// What it said last.
        said: String,
    },
    /// The server is neither ready nor ended.
    #[error("the server in {} isn't ready after {} s", directory.display(), after.as_secs())]
    NotReady {
        /// The cluster's directory.
        directory: PathBuf,
        /// For how long it was waited for.
        after: Duration,
    },
    /// Another server runs in the directory and doesn't stop.
    #[error("another server (process {pid}) runs in {} and doesn't stop", directory.display())]
    Occupied {
        /// The cluster's directory.
        directory: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// No port is free.
    #[error("no free port found for a server")]
    NoPort,
    /// An SQL statement for setting the cluster up.
    #[error("can't {what}")]
    Sql {
        /// What it was for.
        what: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl LocalError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Binaries { .. } => Some(format!(
                "install PostgreSQL 14 or later (Debian, Ubuntu: apt-get install postgresql), or set {} to the directory of its binaries",
                super::BINARIES_VARIABLE
            )),
            Self::NoUser => Some("run as another user, or add one named postgres".to_owned()),
            Self::Unreachable { .. } => Some(
                "choose a data directory that other users may enter, or run as another user than root"
                    .to_owned(),
            ),
            Self::Ended { directory, .. } | Self::NotReady { directory, .. } => Some(format!(
                "the server's log is {}",
                super::cluster::log_path(directory).display()
            )),
            Self::Occupied { pid, .. } => Some(format!("stop it first: kill -INT {pid}")),
            Self::File { .. }
            | Self::Run { .. }
            | Self::Init { .. }
            | Self::NoPort
            | Self::Sql { .. } => None,
        }
    }
}

/// Says what was tried with a file.
pub(super) fn file<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LocalError + use<'a> {
    move |source| LocalError::File {
        what,
        path: path.to_owned(),
        source,
    }
}
