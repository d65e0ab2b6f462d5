//! What a person asks of a dataset's server while the region runs.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use serde::{Deserialize, Serialize};
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

/// What was asked for, and not carried out yet.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Asked>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    side: Option<Side>,
    /// Whether to be detached, where anything was said.
    detach: Option<bool>,
}

impl Control {
    /// Attaches, and goes by this side where nothing tells.
    pub(crate) fn attach(&self, side: Option<Side>) {
        *self.asked() = Asked {
            side,
            detach: Some(false),
        };
        self.0.changed.notify_one();
    }

    /// Lets the server go.
    pub(crate) fn detach(&self) {
        *self.asked() = Asked {
            side: None,
            detach: Some(true),
        };
        self.0.changed.notify_one();
    }

    /// The side that was chosen.
    pub(super) fn side(&self) -> Option<Side> {
        self.asked().side
    }

    /// What was chosen is carried out: it holds for no other time.
    pub(super) fn decided(&self) {
        self.asked().side = None;
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
        control.attach(Some(Side::Server));
        assert!(!is_detached(&control));
        assert!(!is_detached(&Control::default()));
        assert_eq!(control.side(), Some(Side::Server));
        control.decided();
        assert_eq!(control.side(), None);
    }
}
