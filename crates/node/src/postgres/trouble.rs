//! Why a dataset and its server don't go together for now.

use crate::dataset::{CaptureError as TakeError, describe};
use meridian_engine_postgres::apply::ApplyError;
use meridian_engine_postgres::capture::CaptureError;
use meridian_engine_postgres::changes::ChangesError;
use meridian_engine_postgres::server::ServerError;
use meridian_model::{COLLISIONS_SINCE, RegionName};
use tokio_postgres::error::SqlState;

/// Why capture and projection ended.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// Whether it may go away by itself, so that trying again soon is worth it. Otherwise it is tried
    /// again too, but the dataset is shown as stopped.
    pub(super) is_transient: bool,
    /// Whether it is the log that takes nothing for now.
    pub(super) is_refused: bool,
    /// Whether nothing but somebody's answer helps.
    pub(super) is_question: bool,
}

const FULL: &str = "the server keeps its WAL meanwhile: bring the region back that is away, evict \
                    it, or raise `log-bytes-max`";

const TOO_LARGE: &str = "make the row smaller in the server, or exclude its table; then detach the \
                         region, and attach it again, which compares all rows";

const UPGRADE: &str = "nothing was written: upgrade that region, and choose again once it has \
                       connected";

const UNREAD: &str = "upgrade that region (or start it without --wire-version-max), or let it connect; \
                      another one that is gone for good can be evicted. This one goes on joining by itself \
                      then";

const UNPREPARED: &str =
    "`meridian postgres prepare --apply` makes what Meridian keeps in the database";

impl Trouble {
    /// Somebody has to decide.
    pub(super) fn asking(reason: impl Into<String>, hint: &str) -> Self {
        Self {
            is_question: true,
            ..Self::lasting(reason, hint)
        }
    }

    /// A region couldn't be told what gives way to somebody's choice.
    pub(super) fn untold(region: &RegionName) -> Self {
        let reason = format!(
            "region {region} is not known to speak wire version {COLLISIONS_SINCE}, which tells regions \
             what gives way to a choice"
        );
        Self::asking(reason, UPGRADE)
    }

    /// A region that joins can't say what its transactions absorb.
    pub(super) fn unread(reason: String) -> Self {
        Self {
            hint: Some(UNREAD.to_owned()),
            is_refused: true,
            ..Self::passing(reason)
        }
    }

    pub(super) fn lasting(reason: impl Into<String>, hint: &str) -> Self {
        Self {
            reason: reason.into(),
            hint: Some(hint.to_owned()),
            is_transient: false,
            is_refused: false,
            is_question: false,
        }
    }

    /// The same, with what it keeps from being done.
    pub(super) fn in_words(self, what: &str) -> Self {
        Self {
            reason: format!("{what}: {}", self.reason),
            ..self
        }
    }

    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
            is_transient: true,
            is_refused: false,
            is_question: false,
        }
    }
}

impl From<ServerError> for Trouble {
    fn from(error: ServerError) -> Self {
        let is_gone = error.code() == Some(&SqlState::UNDEFINED_TABLE);
        let reason = describe(&error);
        let hint = match error.hint() {
            _ if is_gone && reason.contains("\"meridian.") => Some(UNPREPARED),
            hint => hint,
        };
        Self {
            reason,
            hint: hint.map(str::to_owned),
            is_transient: error.is_transient(),
            is_refused: false,
            is_question: false,
        }
    }
}

impl From<CaptureError> for Trouble {
    fn from(error: CaptureError) -> Self {
        Self {
            reason: describe(&error),
            hint: Some(error.hint().to_owned()),
            is_transient: error.is_transient(),
            is_refused: false,
            is_question: false,
        }
    }
}

impl From<ChangesError> for Trouble {
    fn from(error: ChangesError) -> Self {
        let hint = match error {
            ChangesError::Schema { .. } => {
                "make the tables of all regions alike; capture goes on by itself then"
            }
            // What the WAL doesn't say is said nowhere.
            ChangesError::OldValue { .. } | ChangesError::Counter { .. } => {
                "what was written says too little: `meridian postgres detach`, then `prepare --apply`, which \
                 puts the table right, then `attach`, which compares all rows (what was deleted here and \
                 not captured yet comes back)"
            }
        };
        Self::lasting(describe(&error), hint)
    }
}

impl From<TakeError> for Trouble {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Full(reason) => Self {
                hint: Some(FULL.to_owned()),
                is_refused: true,
                ..Self::passing(reason)
            },
            TakeError::Unread(reason) => Self::unread(reason),
            TakeError::NotNow(reason) | TakeError::Ended(reason) => Self::passing(reason),
            TakeError::TooLarge(reason) => Self::lasting(reason, TOO_LARGE),
            TakeError::Stopped(reason) => Self::lasting(
                reason,
                "see what `meridian replication` says of the dataset",
            ),
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        ServerError::from(error).into()
    }
}

/// What may keep an earlier session open.
const EARLIER_SESSION: &str = "it is tried again, and mostly over within a minute; `SELECT \
    pg_terminate_backend(PROCESS)` ends it at once. Does another region have the same database?";

impl From<ApplyError> for Trouble {
    fn from(error: ApplyError) -> Self {
        let reason = describe(&error);
        match error {
            ApplyError::Server { source, .. } => {
                let trouble = Self::from(source);
                Self { reason, ..trouble }
            }
            ApplyError::Busy { .. } => Self {
                hint: Some(EARLIER_SESSION.to_owned()),
                ..Self::passing(reason)
            },
            ApplyError::Table(_) | ApplyError::Document(_) | ApplyError::Answer { .. } => {
                let hint = "make the tables of all regions alike; it goes on by itself then";
                Self::lasting(reason, hint)
            }
        }
    }
}
