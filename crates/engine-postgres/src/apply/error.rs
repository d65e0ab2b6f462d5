//! What the server may answer, told apart.

use crate::Xid;
use crate::document::DocumentError;
use crate::projection::Outcome;
use tokio_postgres::error::SqlState;

/// A batch couldn't be written, and it isn't that it must wait.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A row of a table that the applier doesn't have.
    #[error("the dataset has rows of {0:?}, a table that isn't replicated here")]
    Table(String),
    /// A row that doesn't fit its table.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The server refused, or is gone.
    #[error("can't {what}: {}", said(.source))]
    Server {
        /// What was asked.
        what: String,
        /// Its answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Another session may write for the same dataset.
    #[error("an earlier session of this dataset is still open in the server{holder}")]
    Busy {
        /// Which, in brackets behind a space; nothing where that is not known.
        holder: String,
    },
    /// The server answered something else than was expected.
    #[error("the server answered {answer:?} where {expected} was expected")]
    Answer {
        /// What.
        answer: String,
        /// What would have been understood.
        expected: &'static str,
    },
}

impl ApplyError {
    pub(crate) fn server(
        what: impl Into<String>,
    ) -> impl FnOnce(tokio_postgres::Error) -> ApplyError {
        let what = what.into();
        move |source| ApplyError::Server { what, source }
    }

    /// Whether the connection is gone: what was under way may be committed or not.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Server { source, .. } if is_lost(source))
    }
}

/// Why a try to write a batch ended.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A lock was held too long, or a deadlock or a serialization failure resolved.
    Locked,
    /// A constraint, a value or a trigger said no.
    Violation { reason: String },
    /// Anything else.
    Failed(ApplyError),
}

impl Refusal {
    pub(super) fn into_outcome(self) -> Result<Outcome, ApplyError> {
        match self {
            Self::Locked => Ok(Outcome::Locked),
            Self::Violation { reason } => Ok(Outcome::Violation { reason }),
            Self::Failed(error) => Err(error),
        }
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        Self::Failed(error)
    }
}

/// What a statement asks for to say that its session has lost the dataset's lock to another one.
pub(super) const LOCK_LOST: &str = "meridian.another session writes for this dataset";

impl From<tokio_postgres::Error> for Refusal {
    fn from(source: tokio_postgres::Error) -> Self {
        if source
            .as_db_error()
            .is_some_and(|it| it.message().contains(LOCK_LOST))
        {
            let holder = " (another session has its lock)".to_owned();
            return Self::Failed(ApplyError::Busy { holder });
        }
        let code = source.code().map(SqlState::code).unwrap_or_default();
        match code {
            "55P03" | "40P01" | "40001" => Self::Locked,
            _ if is_of_rows(code) => Self::Violation {
                reason: said(&source),
            },
            _ => Self::Failed(ApplyError::Server {
                what: "write a batch".to_owned(),
                source,
            }),
        }
    }
}

/// Whether a code is said of what is written: data, constraints, `WITH CHECK OPTION`, rows too wide,
/// and whatever a function or trigger raises, which may choose its code. The others are about the
/// connection, the transaction, who asks, what the tables are, and how the server is.
fn is_of_rows(code: &str) -> bool {
    const NOT_OF_ROWS: [&str; 18] = [
        "", "00", "08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "55", "57",
        "58", "F0", "XX",
    ];
    !NOT_OF_ROWS.contains(&code.get(..2).unwrap_or_default())
}

fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed()
        || error.code().map_or(error.as_db_error().is_none(), |code| {
            code.code().starts_with("08") || code.code().starts_with("57P")
        })
}

/// The server's words, with the detail that names the values.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    let Some(told) = error.as_db_error() else {
        return error.to_string();
    };
    match told.detail() {
        Some(detail) => format!("{} ({detail})", told.message()),
        None => told.message().to_owned(),
    }
}

/// A transaction id as the server writes it.
pub(super) fn xid(text: &str) -> Result<Xid, ApplyError> {
    text.parse().map(Xid).map_err(|_| ApplyError::Answer {
        answer: text.to_owned(),
        expected: "a transaction id",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_rows_is_told_from_what_is_said_of_the_server() {
        for code in [
            "23514", "22001", "22P05", "P0001", "54000", "UE001", "2F003",
        ] {
            assert!(is_of_rows(code), "{code}");
        }
        for code in [
            "", "08006", "25006", "42703", "42501", "53100", "57P01", "XX001", "0A000",
        ] {
            assert!(!is_of_rows(code), "{code}");
        }
    }
}
