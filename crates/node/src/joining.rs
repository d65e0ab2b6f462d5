//! How far a dataset that joins has come.

use std::sync::{Arc, Mutex, PoisonError};

/// What a joining dataset is doing, in words; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<String>>);

impl Progress {
    /// Says what is being done now.
    pub fn say(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// What is being done.
    #[must_use]
    pub fn now(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
