//! What is found.

use serde::{Deserialize, Serialize};

/// Whether something is as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is.
    Ok,
    /// It isn't, and SQL makes it so.
    Sql,
    /// It isn't, and somebody has to decide.
    Refused,
    /// It is, and somebody may want it otherwise.
    Advice,
}

impl Status {
    /// Whether something is missing.
    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, Self::Sql | Self::Refused)
    }
}

/// A prerequisite, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, in a word or two: `wal_level`, `replica identity`.
    pub check: String,
    /// What of: a table, a sequence, a role, or `server`.
    pub subject: String,
    /// How it stands.
    pub status: Status,
    /// What was found, and why it matters where it isn't as it must be.
    pub reason: String,
    /// What a person can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The statements that make it so: run with [`Status::Sql`], for a person with
    /// [`Status::Refused`] and [`Status::Advice`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<String>,
}

impl Finding {
    pub(super) fn ok(check: &str, subject: impl ToString, reason: impl Into<String>) -> Self {
        Self::new(Status::Ok, check, subject, reason)
    }

    pub(super) fn sql(
        check: &str,
        subject: impl ToString,
        reason: impl Into<String>,
        statements: impl IntoIterator<Item = String>,
    ) -> Self {
        Self::new(Status::Sql, check, subject, reason).with(statements)
    }

    pub(super) fn refused(check: &str, subject: impl ToString, reason: impl Into<String>) -> Self {
        Self::new(Status::Refused, check, subject, reason)
    }

    pub(super) fn advice(check: &str, subject: impl ToString, reason: impl Into<String>) -> Self {
        Self::new(Status::Advice, check, subject, reason)
    }

    fn new(status: Status, check: &str, subject: impl ToString, reason: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            subject: subject.to_string(),
            status,
            reason: reason.into(),
            hint: None,
            sql: Vec::new(),
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn with(mut self, statements: impl IntoIterator<Item = String>) -> Self {
        self.sql.extend(statements);
        self
    }
}
