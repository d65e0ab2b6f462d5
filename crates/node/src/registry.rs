//! The datasets of a region, as the API and the links find them: by name, at the moment of use.
//!
//! ```text
//! Opening ──────────────▶ Running ──evicted, added again──▶ Joining ─▶ Running …
//!    │  └──▶ Joining ───▶ Running
//!    └──▶ Failed ◀──────────┘
//! ```
//!
//! A dataset may be replaced while the region runs (an evicted one joins anew under another
//! incarnation), so nobody keeps a handle for longer than a request, a connection or an
//! incarnation lasts. Questions to peers belong to the name and not to the incarnation: a dataset
//! that joins has to ask before it has a replica.

use crate::dataset::{DatasetHandle, Questions};
use crate::joining::Progress;
use meridian_model::BESIDE_DATASETS;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A dataset of this region, as it is found.
#[derive(Clone)]
pub enum DatasetState {
    /// Its files are being opened.
    Opening,
    /// It is being brought up from its peers.
    Joining(Progress),
    /// It runs.
    Running(DatasetHandle),
    /// It could not be opened.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Every dataset by name.
pub type Datasets = BTreeMap<String, DatasetState>;

/// The datasets of a region; clones share them.
#[derive(Clone)]
pub struct Registry {
    datasets: Arc<watch::Sender<Arc<Datasets>>>,
    questions: Arc<BTreeMap<String, Questions>>,
}

impl DatasetState {
    /// The dataset, where it runs.
    #[must_use]
    pub fn running(&self) -> Option<&DatasetHandle> {
        match self {
            Self::Running(handle) => Some(handle),
            Self::Opening | Self::Joining(_) | Self::Failed { .. } => None,
        }
    }

    /// Why it doesn't run, where it doesn't.
    #[must_use]
    pub fn absence(&self) -> Option<String> {
        match self {
            Self::Running(_) => None,
            Self::Opening => Some("it is being opened".to_owned()),
            Self::Joining(progress) => Some(format!("it is joining: {}", progress.now())),
            Self::Failed { reason } => Some(format!("could not be opened: {reason}")),
        }
    }
}

impl Registry {
    /// These datasets. Their names stay; their states may change.
    #[must_use]
    pub fn new(datasets: Datasets) -> Self {
        let questions = datasets.iter().map(|(name, state)| {
            let running = state.running().map(DatasetHandle::questions).cloned();
            (name.clone(), running.unwrap_or_default())
        });
        let beside = (BESIDE_DATASETS.to_owned(), Questions::default());
        Self {
            questions: Arc::new(questions.chain([beside]).collect()),
            datasets: Arc::new(watch::Sender::new(Arc::new(datasets))),
        }
    }

    /// All datasets as they are now.
    #[must_use]
    pub fn now(&self) -> Arc<Datasets> {
        self.datasets.borrow().clone()
    }

    /// All datasets whenever one changes its state.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Datasets>> {
        self.datasets.subscribe()
    }

    /// A dataset that runs.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<DatasetHandle> {
        self.datasets.borrow().get(name)?.running().cloned()
    }

    /// How far a dataset has come that joins.
    pub(crate) fn joining(&self, name: &str) -> Option<Progress> {
        match self.datasets.borrow().get(name)? {
            DatasetState::Joining(progress) => Some(progress.clone()),
            _ => None,
        }
    }

    /// Puts a dataset of this region into another state.
    pub fn set(&self, name: &str, state: DatasetState) {
        self.datasets.send_modify(|datasets| {
            if let Some(known) = Arc::make_mut(datasets).get_mut(name) {
                *known = state;
            }
        });
    }

    /// The questions about a dataset of this region, whatever its state; those about none are
    /// [`BESIDE_DATASETS`].
    pub(crate) fn questions(&self, name: &str) -> Option<&Questions> {
        self.questions.get(name)
    }

    /// Every dataset's questions.
    pub(crate) fn all_questions(&self) -> impl Iterator<Item = &Questions> {
        self.questions.values()
    }
}
