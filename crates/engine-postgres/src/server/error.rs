//! What goes wrong with a server, told apart by what a person does about it.

use std::error::Error as _;
use std::fmt;
use tokio_postgres::error::{DbError, SqlState};

/// Which kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The settings say what can't be.
    Configuration,
    /// The password can't be read.
    Password,
    /// Nobody answers there, or the connection was lost.
    Unreachable,
    /// The server starts, stops, recovers, or has no connection left.
    Unavailable,
    /// No TLS, or a certificate that doesn't hold.
    Tls,
    /// The server doesn't believe who asks.
    Authentication,
    /// There is no such database.
    NoDatabase,
    /// The role may not do it.
    Permission,
    /// A lock wasn't had in time, or transactions were in each other's way.
    Contention,
    /// Anything else that the server refuses.
    Statement,
}

/// A server can't be reached, or refuses what it was asked.
#[derive(Debug)]
pub struct ServerError {
    trouble: Trouble,
    reason: String,
    source: Option<tokio_postgres::Error>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The reason says already what the server said.
        None
    }
}

impl From<tokio_postgres::Error> for ServerError {
    fn from(source: tokio_postgres::Error) -> Self {
        Self {
            trouble: trouble_of(&source),
            reason: reason_of(&source),
            source: Some(source),
        }
    }
}

impl ServerError {
    /// An error that no server told.
    #[must_use]
    pub fn new(trouble: Trouble, reason: impl Into<String>) -> Self {
        Self {
            trouble,
            reason: reason.into(),
            source: None,
        }
    }

    /// The same, said of something.
    #[must_use]
    pub fn of(mut self, what: impl fmt::Display) -> Self {
        self.reason = format!("{what}: {}", self.reason);
        self
    }

    /// Which kind of thing is wrong.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// The server's code (`SQLSTATE`), where it told one.
    #[must_use]
    pub fn code(&self) -> Option<&SqlState> {
        self.source.as_ref().and_then(tokio_postgres::Error::code)
    }

    /// All that the server told.
    #[must_use]
    pub fn told(&self) -> Option<&DbError> {
        self.source
            .as_ref()
            .and_then(tokio_postgres::Error::as_db_error)
    }

    /// Whether trying again may help without anybody doing something.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.trouble,
            Trouble::Unreachable | Trouble::Unavailable | Trouble::Contention
        )
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.trouble {
            Trouble::Configuration => Some(
                "a server is named like postgresql://USER@HOST:PORT/DATABASE; its password comes from password-file or password-env",
            ),
            Trouble::Password => {
                Some("the file or variable must be readable for the process that connects")
            }
            Trouble::Unreachable => Some(
                "see that the server runs, and that host, port and firewall let this machine in",
            ),
            Trouble::Unavailable => Some("it is tried again; see the server's log if it stays so"),
            Trouble::Tls => Some(
                "name the authority of the server's certificate with root-certificates, or use sslmode=disable on a network you trust",
            ),
            Trouble::Authentication => Some(
                "see user and password, and the server's pg_hba.conf for this machine; a role that isn't there yet is made by `meridian postgres prepare --apply` with --user",
            ),
            Trouble::NoDatabase => Some("create the database, or correct its name in the URL"),
            Trouble::Permission => Some(
                "`meridian postgres prepare` prints the grants that the role needs; the tables' owner runs them",
            ),
            Trouble::Contention | Trouble::Statement => None,
        }
    }
}

fn trouble_of(error: &tokio_postgres::Error) -> Trouble {
    let Some(code) = error.code() else {
        // The driver's kinds are private; their words are not.
        let said = error.to_string();
        return if said.starts_with("error performing TLS handshake") {
            Trouble::Tls
        } else if said.starts_with("authentication error") || said.starts_with("invalid configur") {
            Trouble::Authentication
        } else if said.starts_with("error connecting")
            || said.starts_with("error communicating")
            || said.starts_with("timeout")
            || error.is_closed()
        {
            Trouble::Unreachable
        } else {
            Trouble::Statement
        };
    };
    if *code == SqlState::INVALID_CATALOG_NAME {
        Trouble::NoDatabase
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Trouble::Permission
    } else if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED {
        Trouble::Contention
    } else {
        match code.code().get(..2) {
            Some("28") => Trouble::Authentication,
            Some("08") => Trouble::Unreachable,
            // Out of connections, memory or disk; shutting down or starting up; an I/O error.
            Some("53" | "57") => Trouble::Unavailable,
            Some("40") => Trouble::Contention,
            _ => Trouble::Statement,
        }
    }
}

/// In one line: what the server said, or what the driver said with its causes.
fn reason_of(error: &tokio_postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        let detail = told
            .detail()
            .map_or_else(String::new, |detail| format!(" ({detail})"));
        return format!("{}{detail}", told.message());
    }
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !reason.ends_with(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = next.source();
    }
    reason
}
