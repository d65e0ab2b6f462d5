//! Running the SQL.

use super::finding::{Finding, Status};
use crate::server::ServerError;
use tokio_postgres::Client;

/// A finding's SQL failed; what came before it stays done.
#[derive(Debug, thiserror::Error)]
#[error("{} of {}: {source}\n  in: {sql}", finding.check, finding.subject)]
pub struct ApplyError {
    /// What it was for.
    pub finding: Box<Finding>,
    /// The statements, which ran as one transaction.
    pub sql: String,
    /// What the server said.
    #[source]
    pub source: ServerError,
}

impl ApplyError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.trouble() {
            crate::server::Trouble::Permission if is_about_roles(&self.finding.check) => Some(
                "let a superuser run the SQL about the role; then run this again as the tables' owner (--user), \
                 who is to own the rest",
            ),
            crate::server::Trouble::Permission => Some(
                "run it as the tables' owner with --user, or give the printed SQL to somebody who may",
            ),
            crate::server::Trouble::Contention => {
                Some("somebody holds a lock on it; run this again, what is done stays done")
            }
            _ => self.source.hint(),
        }
    }
}

/// Whether the SQL is one that an owner of tables mostly may not run.
fn is_about_roles(check: &str) -> bool {
    matches!(check, "role" | "replication")
}

/// Runs what is [`Status::Sql`], each finding's statements in a transaction of their own, in order.
/// Says how many. An application isn't held up: a lock that isn't had in five seconds is given up.
///
/// # Errors
/// [`ApplyError`] at the first that fails.
pub async fn apply(client: &Client, findings: &[Finding]) -> Result<usize, ApplyError> {
    let mut done = 0;
    for finding in findings
        .iter()
        .filter(|finding| finding.status == Status::Sql)
    {
        // Several statements in one message are one transaction.
        let sql = finding.sql.join("; ");
        client
            .batch_execute(&format!("SET LOCAL lock_timeout = '5s'; {sql}"))
            .await
            .map_err(|source| ApplyError {
                finding: Box::new(finding.clone()),
                sql,
                source: source.into(),
            })?;
        done += 1;
    }
    Ok(done)
}
