//! Who is asked, by whom, and how.

use super::error::CaptureError;
use crate::server::{ServerConfig, Target, Tls};
use std::time::Duration;

/// For how long a connection may be on its way until the stream flows.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How the session is set, whatever the server, the database or the role have as defaults: values
/// as the documents have them ([`document`](crate::document)), which is how
/// [`connect`](crate::server::connect) sets its sessions too. pgoutput sends values by the types'
/// output functions, and these go by the settings of the session that reads the stream.
const SETTINGS: &[(&str, &str)] = &[
    ("datestyle", "ISO,YMD"),
    ("intervalstyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("timezone", "UTC"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
    ("quote_all_identifiers", "off"),
    // Names of tables, types and functions as values are qualified.
    ("search_path", ""),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// Who is asked, by whom, and how.
pub(super) struct Endpoint {
    pub(super) target: Target,
    pub(super) password: Option<String>,
    pub(super) tls: Option<Tls>,
}

impl Endpoint {
    /// Reads the password and the certificates anew.
    pub(super) fn of(server: &ServerConfig) -> Result<Self, CaptureError> {
        let target = server.target()?;
        let password = server.password.as_ref().map(|source| source.read());
        let tls = target.is_encrypted.then(|| server.tls());
        Ok(Self {
            password: password.transpose()?,
            tls: tls.transpose()?,
            target,
        })
    }

    /// Host and port.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.target.host, self.target.port)
    }
}

/// The settings as the command line of a server takes them, which is how they can be sent before
/// there is a session.
pub(super) fn options() -> String {
    let settings = SETTINGS
        .iter()
        .map(|(name, value)| format!("-c {name}={value}"));
    settings.collect::<Vec<_>>().join(" ")
}
