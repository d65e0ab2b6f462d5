//! A server, and how it is reached.
//!
//! A connection is encrypted *and* the server's certificate verified, chain and name, or it is in the
//! clear: there is no half. `sslmode=require`, `verify-ca` and `verify-full` all mean the former,
//! `sslmode=disable` the latter; where the URL says nothing, a server on loopback is spoken to in the
//! clear and every other one encrypted. `prefer` and `allow`, which whoever is between can turn into
//! clear text, are refused.
//!
//! A password is read anew for each connection, so that one that is rotated needs no restart.

mod connect;
mod error;
mod tls;
mod url;

pub use connect::{Held, connect, connect_held};
pub use error::{ServerError, Trouble};
pub use tls::{Tls, TlsStream, root_certificates};
pub use url::Target;

use std::path::PathBuf;

/// Where a server is and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// A connection URL (`postgresql://user@host:port/database?sslmode=…`) without password.
    pub url: String,
    /// Where the password is, if one is needed.
    pub password: Option<PasswordSource>,
    /// The certificate authorities that vouch for the server (PEM); the system's where `None`.
    pub root_certificates: Option<PathBuf>,
}

/// Where a password is read from, each time that a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// A file; a newline at its end doesn't count.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl PasswordSource {
    /// The password.
    ///
    /// # Errors
    /// [`ServerError`] with [`Trouble::Password`].
    pub fn read(&self) -> Result<String, ServerError> {
        let unreadable =
            |what: String| ServerError::new(Trouble::Password, format!("can't read {what}"));
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| {
                    unreadable(format!("the password file {}: {error}", path.display()))
                }),
            Self::Environment(name) => std::env::var(name).map_err(|error| {
                unreadable(format!("the password from the variable {name}: {error}"))
            }),
        }
    }
}
