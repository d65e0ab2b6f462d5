//! How far a dataset that joins has come.

use meridian_model::Epoch;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a joining dataset is doing; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    what: String,
    would_found: Option<Epoch>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is being done now.
    pub fn say(&self, what: impl Into<String>) {
        self.state().what = what.into();
    }

    /// What is being done, in words.
    #[must_use]
    pub fn now(&self) -> String {
        self.state().what.clone()
    }

    /// Says with which epoch this region would found the dataset, of which it has nothing.
    pub(crate) fn would_found(&self, epoch: Option<Epoch>) {
        self.state().would_found = epoch;
    }

    /// With which epoch it would; `None` where it founds nothing, or has a part of a copy.
    pub(crate) fn founding(&self) -> Option<Epoch> {
        self.state().would_found.clone()
    }
}
