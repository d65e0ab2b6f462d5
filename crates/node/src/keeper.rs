//! Opens the region's datasets, replaces one that joins anew, and ends them all.
//!
//! A dataset that can't be opened doesn't keep the region from serving the others.

use crate::dataset::{
    DatasetConfig, DatasetHandle, Input, MachineClock, OpenDatasetError, Running,
};
use crate::dataset::{describe, open_asking};
use crate::joining::Progress;
use crate::registry::{DatasetState, Registry};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it is looked whether a dataset's files have been let go of.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The datasets of a region and the threads that run them; clones share them.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Kept>);

struct Kept {
    configs: BTreeMap<String, DatasetConfig>,
    clock: MachineClock,
    registry: Registry,
    threads: Mutex<BTreeMap<String, Running>>,
}

impl Keeper {
    /// Knows these datasets; none is opened yet.
    pub(crate) fn new(configs: Vec<DatasetConfig>, clock: MachineClock) -> Self {
        let configs: BTreeMap<_, _> = configs
            .into_iter()
            .map(|config| (config.name.clone(), config))
            .collect();
        let states = configs
            .keys()
            .map(|name| (name.clone(), DatasetState::Opening));
        Self(Arc::new(Kept {
            registry: Registry::new(states.collect()),
            threads: Mutex::default(),
            configs,
            clock,
        }))
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn configs(&self) -> impl Iterator<Item = &DatasetConfig> {
        self.0.configs.values()
    }

    /// Opens a dataset and starts its thread; how it went shows in the registry. Blocks.
    pub(crate) fn open(&self, config: DatasetConfig) -> Option<DatasetHandle> {
        let name = config.name.clone();
        let opened = self.try_open(config);
        opened
            .inspect_err(|error| self.fail(&name, &describe(error)))
            .ok()
    }

    /// The same; where it can't be opened, the registry isn't told.
    pub(crate) fn try_open(
        &self,
        config: DatasetConfig,
    ) -> Result<DatasetHandle, OpenDatasetError> {
        let name = config.name.clone();
        let questions = self.0.registry.questions(&name).cloned();
        let (handle, running) =
            open_asking(config, self.0.clock.clone(), questions.unwrap_or_default())?;
        self.threads().insert(name.clone(), running);
        let state = DatasetState::Running(handle.clone());
        self.0.registry.set(&name, state);
        Ok(handle)
    }

    /// The dataset can't be opened.
    pub(crate) fn fail(&self, name: &str, reason: &str) {
        tracing::error!(dataset = name, reason, "cannot open the dataset");
        let reason = reason.to_owned();
        self.0.registry.set(name, DatasetState::Failed { reason });
    }

    /// Ends a dataset that joins anew. All that is acknowledged is on disk when this returns, and
    /// `true` means that nobody has its files open any more.
    pub(crate) async fn close(&self, handle: DatasetHandle, patience: Duration) -> bool {
        let name = handle.name().to_owned();
        let joining = DatasetState::Joining(Progress::default());
        self.0.registry.set(&name, joining);
        handle.send(Input::Shutdown);
        let thread = self.threads().remove(&name);
        if let Some(thread) = thread {
            // Joining fails only where the thread panicked, which has been reported.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        let released = async {
            while !handle.is_last() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(patience, released).await.is_ok()
    }

    /// Ends every dataset.
    pub(crate) async fn shut_down(&self) {
        for dataset in self
            .0
            .registry
            .now()
            .values()
            .filter_map(DatasetState::running)
        {
            dataset.send(Input::Shutdown);
        }
        let threads = std::mem::take(&mut *self.threads());
        let join = move || threads.into_values().for_each(Running::join);
        // Joining fails only where a dataset's thread panicked, which has been reported.
        let _ = tokio::task::spawn_blocking(join).await;
    }

    fn threads(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.0
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
