//! Why capture doesn't run, or stopped.

use super::changes::ChangesError;
use super::pgoutput::DecodeError;
use super::relations::RowError;
use crate::Lsn;
use crate::server::ServerError;
use std::io;
use std::time::Duration;

/// Why capture doesn't run, or stopped. Written with `{:#}` it ends with the [hint](Self::hint).
#[derive(Debug)]
pub enum CaptureError {
    /// The URL, the password or the certificates can't be used.
    Configuration(ServerError),
    /// Nobody answers there, or the connection broke.
    Unreachable {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing was heard from the server for too long.
    Silent {
        /// Where.
        place: String,
        /// For how long.
        seconds: u64,
    },
    /// No TLS as the configuration asks for it.
    Tls {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// The server doesn't believe that we are who we say.
    Authentication {
        /// The user.
        user: String,
        /// The server's words.
        reason: String,
    },
    /// There is no such database.
    NoDatabase {
        /// Its name.
        database: String,
    },
    /// The user may not do this.
    NotPermitted {
        /// The user.
        user: String,
        /// The server's words.
        reason: String,
    },
    /// The server is a standby.
    Standby {
        /// Where.
        place: String,
    },
    /// There is no such slot.
    SlotMissing {
        /// Its name.
        slot: String,
    },
    /// The slot was never completed.
    SlotUnfit {
        /// Its name.
        slot: String,
    },
    /// The slot is of another database, or decodes with another plugin: somebody else's, with what nobody
    /// has read yet.
    SlotTaken {
        /// Its name.
        slot: String,
        /// By what it is told.
        reason: String,
    },
    /// The server writes no WAL that tells of rows.
    NotLogical {
        /// What `wal_level` is.
        level: String,
    },
    /// Somebody else reads the slot.
    SlotInUse {
        /// Its name.
        slot: String,
        /// The process of the server that serves them, if it is known.
        process: Option<u32>,
    },
    /// The server threw away WAL that the slot needed.
    SlotLost {
        /// Its name.
        slot: String,
        /// The server's words.
        reason: String,
    },
    /// There is no such publication.
    PublicationMissing {
        /// Its name.
        publication: String,
    },
    /// The server shuts down, starts up, or ended our connection.
    ShuttingDown {
        /// The server's words.
        reason: String,
    },
    /// The server refused for another reason.
    Refused {
        /// What we asked for.
        action: &'static str,
        /// The SQLSTATE.
        code: String,
        /// The server's words.
        reason: String,
    },
    /// What came isn't what the protocol says.
    Protocol {
        /// What came.
        reason: String,
    },
    /// A message of the stream can't be read.
    Decode(RowError),
    /// A large transaction can't be put aside or read again.
    Changes(ChangesError),
    /// A transaction came that ends where all was said to have been told.
    Repeated {
        /// Where it ends.
        end: Lsn,
        /// What has been told.
        told: Lsn,
    },
    /// It ended before, with an error that has been told.
    Ended,
}

impl CaptureError {
    /// Whether trying again can help though nobody does anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Standby { .. }
            | Self::SlotInUse { .. }
            | Self::ShuttingDown { .. }
            | Self::Changes(ChangesError::File { .. })
            | Self::Ended => true,
            Self::Refused { code, .. } => is_transient(code),
            Self::Configuration(_)
            | Self::Tls { .. }
            | Self::Authentication { .. }
            | Self::NoDatabase { .. }
            | Self::NotPermitted { .. }
            | Self::SlotMissing { .. }
            | Self::SlotUnfit { .. }
            | Self::SlotTaken { .. }
            | Self::NotLogical { .. }
            | Self::SlotLost { .. }
            | Self::PublicationMissing { .. }
            | Self::Protocol { .. }
            | Self::Decode(_)
            | Self::Changes(ChangesError::Damaged { .. } | ChangesError::Unreadable(_))
            | Self::Repeated { .. } => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Configuration(error) => error.hint().unwrap_or_default().into(),
            Self::Unreachable { .. } => "is the server running, and do its listen_addresses and the firewall let this machine in? It is tried again".into(),
            Self::Silent { .. } => "the link to the server is cut, or the server is overloaded; it is tried again".into(),
            Self::Tls { .. } => "name the authority that signed the server's certificate with root-certificates, and the server by a name that its certificate has, or use sslmode=disable on a network you trust".into(),
            Self::Authentication { user, .. } => format!(
                "check the password of {user} and that pg_hba.conf has a line for this user, database and address"
            ),
            Self::NoDatabase { .. } => "name another database in the URL, or create it".into(),
            Self::NotPermitted { user, .. } => format!(
                "run as a superuser: ALTER ROLE \"{user}\" REPLICATION (on RDS and Aurora: GRANT rds_replication TO \"{user}\")"
            ),
            Self::Standby { .. } => "give an address that is always the primary's; it is tried again".into(),
            Self::SlotMissing { .. } => "`meridian postgres prepare --apply` creates it; if it was there before, changes since then are unknown and the region has to be attached anew".into(),
            Self::PublicationMissing { .. } => "`meridian postgres prepare --apply` creates it; if it was there before, or is younger than the slot, drop the slot and attach the region anew: a slot tells nothing of the time without its publication".into(),
            Self::SlotUnfit { .. } => "drop it, and attach the region anew".into(),
            Self::SlotTaken { slot, .. } => format!(
                "a dataset's slot is called after it, and a server has each name once, whatever the database: give this dataset another name; or, where nothing uses that slot, drop it: SELECT pg_drop_replication_slot('{slot}')"
            ),
            Self::NotLogical { .. } => "run as a superuser: ALTER SYSTEM SET wal_level = logical (on RDS and Aurora: rds.logical_replication = 1 in the parameter group), and restart the server".into(),
            Self::SlotInUse { process, .. } => match process {
                Some(process) => format!(
                    "is another Meridian reading it? `SELECT * FROM pg_stat_replication WHERE pid = {process}` says who; it is tried again"
                ),
                None => "is another Meridian reading it? pg_stat_replication says who; it is tried again".into(),
            },
            Self::SlotLost { .. } => "changes are missing: drop the slot and attach the region anew; a larger max_slot_wal_keep_size lets an agent be away for longer".into(),
            Self::ShuttingDown { .. } => "it is tried again".into(),
            Self::Refused { code, .. } if is_transient(code) => "it is tried again".into(),
            Self::Refused { .. } => "the server's log says more".into(),
            Self::Protocol { .. } | Self::Decode(_) | Self::Repeated { .. } => {
                "is there a connection pooler between here and the server? Capture needs the server itself, PostgreSQL 14 to 18 with a UTF-8 database".into()
            }
            Self::Changes(error) => error.hint().into(),
            Self::Ended => "start it again".into(),
        }
    }
}

/// Connection trouble, resources that ran out, what an operator interrupts, and clashes of transactions:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn is_transient(code: &str) -> bool {
    ["08", "40", "53", "55", "57", "58"]
        .iter()
        .any(|class| code.starts_with(class))
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(error) => write!(f, "can't ask PostgreSQL: {error}"),
            Self::Unreachable { place, source } => {
                write!(f, "no connection to PostgreSQL at {place}: {source}")
            }
            Self::Silent { place, seconds } => {
                write!(f, "PostgreSQL at {place} has said nothing for {seconds} s")
            }
            Self::Tls { place, reason } => {
                write!(f, "no TLS with PostgreSQL at {place}: {reason}")
            }
            Self::Authentication { user, reason } => {
                write!(f, "PostgreSQL doesn't let {user} in: {reason}")
            }
            Self::NoDatabase { database } => {
                write!(f, "PostgreSQL has no database {database}")
            }
            Self::NotPermitted { user, reason } => {
                write!(f, "{user} may not read the replication stream: {reason}")
            }
            Self::Standby { place } => write!(
                f,
                "PostgreSQL at {place} is a standby, which takes no writes"
            ),
            Self::SlotMissing { slot } => {
                write!(f, "PostgreSQL has no replication slot {slot}")
            }
            Self::SlotUnfit { slot } => {
                write!(f, "the replication slot {slot} was never completed")
            }
            Self::SlotTaken { slot, reason } => {
                write!(
                    f,
                    "the replication slot {slot} is somebody else's: {reason}"
                )
            }
            Self::NotLogical { level } => {
                write!(
                    f,
                    "PostgreSQL's WAL doesn't tell of rows: wal_level is {level}"
                )
            }
            Self::SlotInUse { slot, process } => {
                write!(f, "the replication slot {slot} is read by somebody else")?;
                process.map_or(Ok(()), |process| {
                    write!(f, " (process {process} of the server)")
                })
            }
            Self::SlotLost { slot, reason } => write!(
                f,
                "PostgreSQL threw away WAL that the replication slot {slot} needed: {reason}"
            ),
            Self::PublicationMissing { publication } => {
                write!(f, "PostgreSQL has no publication {publication}")
            }
            Self::ShuttingDown { reason } => {
                write!(f, "PostgreSQL takes no connections now: {reason}")
            }
            Self::Refused {
                action,
                code,
                reason,
            } => write!(f, "PostgreSQL refused to {action}: {reason} ({code})"),
            Self::Protocol { reason } => write!(
                f,
                "what answers does not speak PostgreSQL's protocol as expected: {reason}"
            ),
            Self::Decode(error) => write!(f, "can't read the replication stream: {error}"),
            Self::Changes(error) => error.fmt(f),
            Self::Repeated { end, told } => write!(
                f,
                "a transaction ends at {end} in the WAL, after everything up to {told} was told"
            ),
            Self::Ended => f.write_str("capture has ended before"),
        }?;
        if f.alternate() {
            write!(f, "\nhint: {}", self.hint())?;
        }
        Ok(())
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // What the text already says isn't said again as a source.
        None
    }
}

impl From<ServerError> for CaptureError {
    fn from(error: ServerError) -> Self {
        Self::Configuration(error)
    }
}

impl From<DecodeError> for CaptureError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error.into())
    }
}

impl From<RowError> for CaptureError {
    fn from(error: RowError) -> Self {
        Self::Decode(error)
    }
}

impl From<ChangesError> for CaptureError {
    fn from(error: ChangesError) -> Self {
        Self::Changes(error)
    }
}

/// For how long the server may say nothing. It is asked each second, but up to version 15 it answers
/// only when it is through with the transaction at hand. That its machine is gone is found out
/// sooner, by the kernel.
pub(super) const SILENCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let error = CaptureError::SlotInUse {
            slot: "meridian_bank".to_owned(),
            process: Some(4711),
        };
        assert!(error.is_transient());
        assert_eq!(
            format!("{error:#}"),
            "the replication slot meridian_bank is read by somebody else (process 4711 of the \
             server)\nhint: is another Meridian reading it? `SELECT * FROM pg_stat_replication \
             WHERE pid = 4711` says who; it is tried again"
        );
    }

    #[test]
    fn a_refusal_is_passing_by_its_class() {
        let refused = |code: &str| CaptureError::Refused {
            action: "start the stream",
            code: code.to_owned(),
            reason: "no".to_owned(),
        };
        for code in ["53300", "57014", "40001", "08006", "58030"] {
            assert!(refused(code).is_transient(), "{code}");
        }
        for code in ["42601", "XX000", "22023", "0A000", ""] {
            assert!(!refused(code).is_transient(), "{code}");
        }
    }
}
