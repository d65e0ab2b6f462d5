//! What a person asks of a dataset's server while the region runs.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use utoipa::ToSchema;

/// The file that says that the dataset is detached.
const FILE: &str = "detached";

/// Which side is right about rows of which nothing else tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The server beside this region.
    Server,
    /// The other regions.
    Regions,
}

/// Which side somebody says is right, where nothing else tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// In all tables that aren't named.
    pub(crate) all: Option<Side>,
    /// In these.
    pub(crate) tables: BTreeMap<String, Side>,
}

impl Choice {
    /// Which side is right in a table.
    pub(super) fn of(&self, table: &str) -> Option<Side> {
        self.tables.get(table).copied().or(self.all)
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_none() && self.tables.is_empty()
    }
}

/// What was asked for, and not carried out yet.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Asked>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    choice: Choice,
    /// Whether to be detached, where anything was said.
    detach: Option<bool>,
}

impl Control {
    /// Attaches, and goes by this choice where nothing tells.
    pub(crate) fn attach(&self, choice: Choice) {
        *self.asked() = Asked {
            choice,
            detach: Some(false),
        };
        self.0.changed.notify_one();
    }

    /// Lets the server go.
    pub(crate) fn detach(&self) {
        *self.asked() = Asked {
            choice: Choice::default(),
            detach: Some(true),
        };
        self.0.changed.notify_one();
    }

    /// What was chosen.
    pub(super) fn choice(&self) -> Choice {
        self.asked().choice.clone()
    }

    /// What was chosen is carried out: it holds for no other time.
    pub(super) fn decided(&self) {
        self.asked().choice = Choice::default();
    }

    /// This choice can't be carried out. Another one that was made meanwhile stands.
    pub(super) fn falls_short(&self, choice: &Choice) {
        let mut asked = self.asked();
        if asked.choice == *choice {
            asked.choice = Choice::default();
        }
    }

    /// Waits until something is asked for.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Whether the dataset is to be detached: as was said last, over restarts too.
    pub(super) fn is_detached(&self, directory: &Path) -> Result<bool, Trouble> {
        let path = directory.join(FILE);
        let said = self.asked().detach;
        let done = match said {
            None => return path.try_exists().map_err(|error| unwritable(&error)),
            Some(true) => fs::create_dir_all(directory)
                .and_then(|()| durable::mark(&path))
                .map(|()| true),
            Some(false) => durable::unmark(&path).map(|()| false),
        };
        done.map_err(|error| unwritable(&error))
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_last_holds_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let is_detached = |control: &Control| control.is_detached(directory.path()).unwrap();
        let control = Control::default();
        assert!(!is_detached(&control));
        control.detach();
        assert!(is_detached(&control));
        assert!(is_detached(&Control::default()), "after a restart");
        let choice = Choice {
            all: Some(Side::Server),
            ..Choice::default()
        };
        control.attach(choice.clone());
        assert!(!is_detached(&control));
        assert!(!is_detached(&Control::default()));
        control.falls_short(&Choice::default());
        assert_eq!(control.choice(), choice, "another one");
        control.decided();
        assert!(control.choice().is_empty());
    }

    #[test]
    fn a_table_that_is_named_has_its_own_side() {
        let mut choice = Choice::default();
        assert!(choice.is_empty());
        choice.tables.insert("public.a".to_owned(), Side::Regions);
        assert_eq!(choice.of("public.a"), Some(Side::Regions));
        assert_eq!(choice.of("public.b"), None);
        choice.all = Some(Side::Server);
        assert_eq!(choice.of("public.a"), Some(Side::Regions));
        assert_eq!(choice.of("public.b"), Some(Side::Server));
    }
}
