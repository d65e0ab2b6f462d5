//! PostgreSQL servers that replicate to each other: by Meridian, natively, or not at all.
//!
//! All servers run the same installed binaries with the same settings, every commit is forced to
//! disk, and whoever writes waits for it. What differs is only what joins them:
//!
//! - *Meridian*: a region beside each server, its tables prepared by `meridian postgres prepare`;
//! - *native*: publications and subscriptions. From version 16 on each server subscribes to each
//!   other with `origin = none`. Before, two subscriptions to the same tables send a change round and
//!   round, so the first server's tables go to the others, and each of the others has a subscription
//!   of the first to a table of its own that nobody writes: it decodes all the same what it applied;
//! - *bare*: nothing.

mod joined;
mod native;
pub mod pgbench;
mod servers;

pub use joined::{Joined, Wanted};
pub use servers::{DATABASE, ROLE, Servers};

use crate::regions::RegionsError;
use meridian_engine_postgres::local::LocalError;
use serde::Serialize;
use std::path::PathBuf;

/// What joins servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// A region beside each
    Meridian,
    /// Publications and subscriptions
    Native,
    /// Nothing
    Bare,
}

impl System {
    /// Its name as options and reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meridian => "meridian",
            Self::Native => "native",
            Self::Bare => "bare",
        }
    }
}

/// Why servers don't replicate, or can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// A server of one's own.
    #[error("{source}{}", hint(source))]
    Local {
        /// What is wrong with it.
        #[from]
        source: LocalError,
    },
    /// SQL.
    #[error("can't {what}")]
    Sql {
        /// What it was for.
        what: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The regions.
    #[error(transparent)]
    Regions(#[from] RegionsError),
    /// The servers could not be prepared.
    #[error("`meridian postgres prepare` failed:\n{0}")]
    Prepare(String),
    /// A program can't be run.
    #[error("can't run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something did not happen.
    #[error("{what} within {seconds} s; last seen: {seen}")]
    Late {
        /// What was waited for, as a sentence that says no.
        what: &'static str,
        /// For how long.
        seconds: u64,
        /// What was there instead.
        seen: String,
    },
    /// There is no `pgbench`.
    #[error(
        "there is no {}\n\nhint: Debian and Ubuntu have it in the package postgresql; else name one \
         with --pgbench (one of another version will do)",
        path.display()
    )]
    NoPgbench {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// `pgbench` failed.
    #[error("pgbench failed: {0}")]
    Pgbench(String),
}

fn hint(error: &LocalError) -> String {
    let hint = error.hint();
    hint.map_or_else(String::new, |hint| format!("\n\nhint: {hint}"))
}

/// Says what SQL was for.
pub(crate) fn sql(what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> PostgresError {
    move |source| PostgresError::Sql { what, source }
}
