//! A cluster: a directory with data, made by `initdb`, and the server on it.

use super::binaries::Binaries;
use super::error::{LocalError, file};
use super::process::{Server, Stop, stop_orphan};
use super::user::{self, User};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The superuser of a cluster of one's own.
pub(super) const SUPERUSER: &str = "postgres";
/// The file with our settings, which `postgresql.conf` includes at its end.
const SETTINGS_FILE: &str = "meridian.conf";

/// How a cluster is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The binaries' directory; found where `None`.
    pub binaries: Option<PathBuf>,
    /// Whether commits are on disk when they are acknowledged; without, a crash of the machine (not
    /// of the server) may destroy the data.
    pub fsync: bool,
    /// More parameters of `postgresql.conf`, by name; a later one goes before an earlier one.
    pub parameters: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            binaries: None,
            fsync: true,
            parameters: Vec::new(),
        }
    }
}

/// A local PostgreSQL server with its data; stopped when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    port: u16,
    settings: Settings,
    binaries: Binaries,
    user: Option<User>,
    server: Option<Server>,
    /// Removes the directory of a temporary cluster; after the server, by the order of the fields.
    pub(super) temporary: Option<TempDir>,
}

impl Cluster {
    /// The cluster in `directory`, which is made with `initdb` unless it is there; its server
    /// listens on 127.0.0.1 at `port` once it is started. A server that still runs there, left
    /// behind by an owner that was killed, is stopped.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn create(directory: &Path, port: u16, settings: Settings) -> Result<Self, LocalError> {
        let binaries = Binaries::find(settings.binaries.as_deref())?;
        let user = user::unprivileged()?;
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        // PostgreSQL gets its paths absolute: it changes its directory.
        let directory = fs::canonicalize(directory).map_err(file("find", directory))?;
        if let Some(user) = &user {
            user.owns(&directory)?;
            user.reaches(&directory)?;
        }
        let cluster = Self {
            directory,
            port,
            settings,
            binaries,
            user,
            server: None,
            temporary: None,
        };
        stop_orphan(&cluster.data())?;
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.initialise()?;
        }
        Ok(cluster)
    }

    /// Starts the server, if it doesn't run, and waits until it takes connections.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn start(&mut self) -> Result<(), LocalError> {
        if self.is_running() {
            return Ok(());
        }
        // The guard of one that died must not signal whoever has its number next.
        self.stop(Stop::Immediate);
        self.write_settings()?;
        self.server = Some(Server::start(
            &self.binaries.program("postgres"),
            &self.data(),
            &log_path(&self.directory),
            self.user.as_ref(),
        )?);
        Ok(())
    }

    /// Stops the server, if it runs, and returns when it is gone.
    pub fn stop(&mut self, how: Stop) {
        if let Some(server) = self.server.take() {
            server.stop(how);
        }
    }

    /// Stops the server and starts it again, at the same port and with the parameters set since.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn restart(&mut self, how: Stop) -> Result<(), LocalError> {
        self.stop(how);
        self.start()
    }

    /// Sets a parameter of `postgresql.conf` from the next start on.
    pub fn set_parameter(&mut self, name: &str, value: &str) {
        self.settings
            .parameters
            .push((name.to_owned(), value.to_owned()));
    }

    /// Whether the server runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::is_running)
    }

    /// The server's process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Where the server listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The cluster's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Where the server writes what it has to say.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log_path(&self.directory)
    }

    /// The binaries that it runs.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub(super) fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Runs `initdb` into a directory beside, so that one that was interrupted leaves no half of a
    /// cluster behind that looks whole.
    fn initialise(&self) -> Result<(), LocalError> {
        let fresh = self.directory.join("data.new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(file("remove", &fresh))?;
        }
        let initdb = self.binaries.program("initdb");
        let mut command = Command::new(&initdb);
        command
            .arg("-D")
            .arg(&fresh)
            .args(["--username", SUPERUSER])
            .args(["--encoding", "UTF8", "--locale", "C", "--auth", "trust"])
            .args(["--no-sync", "--no-instructions"])
            .current_dir("/");
        if let Some(user) = &self.user {
            user.runs(&mut command);
        }
        let output = command.output().map_err(|source| LocalError::Run {
            program: initdb,
            source,
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(LocalError::Init {
                said: said.trim().replace('\n', "; "),
            });
        }
        let configuration = fresh.join("postgresql.conf");
        let text = fs::read_to_string(&configuration).map_err(file("read", &configuration))?;
        fs::write(&configuration, text + "\ninclude 'meridian.conf'\n")
            .map_err(file("write", &configuration))?;
        fs::rename(&fresh, self.data()).map_err(file("rename", &fresh))
    }

    fn write_settings(&self) -> Result<(), LocalError> {
        let path = self.data().join(SETTINGS_FILE);
        fs::write(&path, self.settings.text(self.port)).map_err(file("write", &path))?;
        match &self.user {
            Some(user) => user.owns(&path),
            None => Ok(()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What a temporary cluster has is thrown away: it needn't be written first.
        self.stop(match self.temporary {
            Some(_) => Stop::Immediate,
            None => Stop::Fast,
        });
    }
}

impl Settings {
    /// What `postgresql.conf` includes. PostgreSQL takes the last of several.
    fn text(&self, port: u16) -> String {
        let on = if self.fsync { "on" } else { "off" };
        let fixed = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", String::new()),
            ("wal_level", "logical".to_owned()),
            ("fsync", on.to_owned()),
            ("full_page_writes", on.to_owned()),
            ("logging_collector", "off".to_owned()),
            ("log_destination", "stderr".to_owned()),
        ];
        let mut text = String::new();
        let given = self
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in fixed
            .iter()
            .map(|(name, value)| (*name, value))
            .chain(given)
        {
            let value = value.replace('\'', "''");
            writeln!(text, "{name} = '{value}'").expect("a string takes all");
        }
        text
    }
}

/// Where a cluster's server writes what it has to say.
pub(super) fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_parameter_given_stands_after_the_fixed_ones() {
        let settings = Settings {
            binaries: None,
            fsync: false,
            parameters: vec![("cluster_name".to_owned(), "it's".to_owned())],
        };
        let text = settings.text(5_000);
        assert!(text.ends_with("cluster_name = 'it''s'\n"), "{text}");
        for line in ["port = '5000'", "fsync = 'off'", "wal_level = 'logical'"] {
            assert!(text.lines().any(|other| other == line), "{text}");
        }
    }

    #[test]
    fn a_cluster_outlives_its_server_and_an_orphan_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let settings = || Settings {
            fsync: false,
            ..Settings::default()
        };
        let port = super::super::temporary::free_port().unwrap();
        let mut cluster = Cluster::create(directory.path(), port, settings()).unwrap();
        cluster.start().unwrap();
        let first = cluster.pid().unwrap();
        cluster.restart(Stop::Immediate).unwrap();
        assert_ne!(cluster.pid().unwrap(), first);
        assert!(cluster.is_running());

        // Another cluster in the same directory takes this one's server for an orphan.
        let mut second = Cluster::create(directory.path(), port, settings()).unwrap();
        // Its working directory goes a moment before the process does.
        let deadline = Instant::now() + Duration::from_secs(10);
        while cluster.is_running() {
            assert!(Instant::now() < deadline, "it is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        second.start().unwrap();
        assert!(second.is_running());
        drop(second);
        assert!(!directory.path().join("data/postmaster.pid").exists());
    }
}
