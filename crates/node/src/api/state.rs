//! What the handlers share.

use super::integrity::Comparisons;
use super::metrics::HttpMetrics;
use super::problem::{Kind, Problem};
use crate::aside::Shelves;
use crate::dataset::{DatasetHandle, apart};
use crate::dns::NameServer;
use crate::faults::Faults;
use crate::health::Health;
use crate::known::Known;
pub use crate::registry::DatasetState;
use crate::registry::{Datasets, Registry};
use crate::steering::Steering;
use axum::http::HeaderMap;
use meridian_link::Rejections;
use meridian_model::RegionName;
use meridian_topology::{Limits, TableName, Topology};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The bodies of writes under way may take this much memory together, in KiB.
const WRITES_KIB_MAX: usize = 112 * 1024;
/// And this much more where they are small, so that those who send large ones, or never end them,
/// leave room for others.
const SMALL_WRITES_KIB_MAX: usize = 16 * 1024;
/// What is small.
const SMALL_WRITE_KIB_MAX: usize = 64;
/// What a write counts for at least, which bounds how many there are at once.
const WRITE_KIB_MIN: usize = 16;
/// JSON around the operations of a transaction, on top of what they may weigh themselves.
const TRANSACTION_SYNTAX_BYTES: usize = 4 << 20;
/// JSON around an increment's field.
const INCREMENT_BYTES_MAX: usize = 64 << 10;

/// What the API is about.
#[derive(Clone)]
pub struct Api {
    /// This region.
    pub region: RegionName,
    /// Which table belongs to which dataset, and under which limits.
    pub topology: Arc<Topology>,
    /// Every dataset of the topology, by name.
    pub datasets: Registry,
    /// The bearer token that clients must send; without it none is asked for.
    pub token: Option<String>,
    /// Who was turned away at the link, where there is one.
    pub rejections: Option<Rejections>,
    /// What an evicted incarnation of this region alone held.
    pub shelves: Shelves,
    /// The regions that are known, and where they are reached.
    pub known: Known,
    /// When the region started.
    pub started: Instant,
    /// How all regions are, as this one sees them.
    pub health: Health,
    /// Faults on purpose, where the region was started with them allowed.
    pub faults: Option<Faults>,
    /// Where clients go, and what people want of it.
    pub steering: Steering,
    /// Answers questions of DNS, where the region does.
    pub name_server: Option<NameServer>,
}

/// The API's state; clones are cheap and share it.
///
/// Each request has a clone of its own, and with it one view of the datasets: what it finds first
/// it keeps to its end, though a dataset may be replaced meanwhile.
pub struct ApiState {
    shared: Arc<Shared>,
    datasets: OnceLock<Arc<Datasets>>,
}

impl Clone for ApiState {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            datasets: OnceLock::new(),
        }
    }
}

struct Shared {
    api: Api,
    writes: Semaphore,
    small_writes: Semaphore,
    http: HttpMetrics,
    comparisons: Arc<Comparisons>,
}

/// The dataset that a request is about.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) dataset: &'a DatasetHandle,
    pub(crate) limits: &'a Limits,
}

impl ApiState {
    /// Shares what the API is about.
    #[must_use]
    pub fn new(api: Api) -> Self {
        let shared = Arc::new(Shared {
            api,
            writes: Semaphore::new(WRITES_KIB_MAX),
            small_writes: Semaphore::new(SMALL_WRITES_KIB_MAX),
            http: HttpMetrics::default(),
            comparisons: Arc::default(),
        });
        Self {
            shared,
            datasets: OnceLock::new(),
        }
    }

    pub(crate) fn api(&self) -> &Api {
        &self.shared.api
    }

    pub(crate) fn http(&self) -> &HttpMetrics {
        &self.shared.http
    }

    pub(crate) fn comparisons(&self) -> &Arc<Comparisons> {
        &self.shared.comparisons
    }

    pub(crate) fn has_dataset(&self, name: &str) -> bool {
        self.datasets().contains_key(name)
    }

    /// Every dataset, as this request sees them.
    pub(crate) fn datasets(&self) -> &Datasets {
        self.datasets.get_or_init(|| self.shared.api.datasets.now())
    }

    /// The datasets that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &DatasetHandle> {
        self.datasets().values().filter_map(DatasetState::running)
    }

    /// The other regions: those of the topology, and those that have joined since.
    pub(crate) fn peers(&self) -> BTreeSet<RegionName> {
        let regions = &self.api().topology.regions;
        let mut peers: BTreeSet<_> = regions.iter().map(|region| region.name.clone()).collect();
        for dataset in self.running() {
            peers.extend(dataset.membership().epoch.members.keys().cloned());
        }
        peers.remove(&self.api().region);
        peers
    }

    /// The running dataset that a table belongs to.
    pub(crate) fn target(&self, table: &str) -> Result<Target<'_>, Problem> {
        TableName::new(table)
            .map_err(|error| Problem::new(Kind::BadTable, error.reason).hint(error.hint))?;
        let Some(dataset) = self.shared.api.topology.dataset_of_table(table) else {
            return Err(Problem::new(
                Kind::TableNotServed,
                format!("no dataset takes table {table:?}"),
            )
            .hint(self.named_otherwise(table)));
        };
        let dataset_name = dataset.name.as_str();
        match self.datasets().get(dataset_name) {
            Some(DatasetState::Running(handle)) => Ok(Target {
                dataset: handle,
                limits: &dataset.limits,
            }),
            Some(DatasetState::Failed { reason }) => Err(unavailable(dataset_name, reason)),
            Some(state) => Err(absent(dataset_name, &state.absence().unwrap_or_default())),
            None => Err(unavailable(dataset_name, "it is not one of this region's")),
        }
    }

    /// What to do about a table that no dataset takes under this name.
    fn named_otherwise(&self, table: &str) -> String {
        let qualified = format!("public.{table}");
        let topology = &self.shared.api.topology;
        let of_postgres = topology.dataset_of_table(&qualified);
        match of_postgres.is_some() && !table.contains('.') {
            true => {
                format!("did you mean {qualified:?}? a server's tables have their schema's name")
            }
            false => "add the table to a dataset of the topology".to_owned(),
        }
    }

    /// The most bytes that the body of a transaction may have.
    pub(crate) fn transaction_body_bytes_max(&self) -> usize {
        let datasets = &self.shared.api.topology.datasets;
        let largest = datasets
            .iter()
            .map(|dataset| dataset.limits.transaction_bytes_max)
            .max();
        bytes(largest.unwrap_or_default()).saturating_add(TRANSACTION_SYNTAX_BYTES)
    }

    /// Room for a write whose body has `bytes`; held until the write is answered.
    pub(crate) fn admit_write(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Problem> {
        let kib = bytes.div_ceil(1024).clamp(WRITE_KIB_MIN, WRITES_KIB_MAX);
        let is_small = kib <= SMALL_WRITE_KIB_MAX;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let admitted = match self.shared.writes.try_acquire_many(kib) {
            Err(_) if is_small => self.shared.small_writes.try_acquire_many(kib),
            admitted => admitted,
        };
        admitted.map_err(|_| {
            Problem::new(
                Kind::TooBusy,
                "too many writes are under way in this region",
            )
            .hint("send it again a little later")
            .retry_after(1)
        })
    }
}

impl Target<'_> {
    /// Checks a row's key against the dataset's limit.
    pub(crate) fn check_key(&self, key: &str) -> Result<(), Problem> {
        let max = bytes(self.limits.key_bytes_max);
        if (1..=max).contains(&key.len()) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::BadKey,
            format!(
                "a row's key has 1 to {max} bytes, this one has {}",
                key.len()
            ),
        ))
    }

    /// The most bytes that the body of a PUT may have.
    pub(crate) fn document_bytes_max(&self) -> usize {
        bytes(self.limits.document_bytes_max)
    }

    /// The most bytes that the body of an increment may have.
    pub(crate) fn increment_bytes_max(&self) -> usize {
        INCREMENT_BYTES_MAX.min(bytes(self.limits.transaction_bytes_max))
    }

    /// The most bytes that the body of a change of members may have: a document's worth to add,
    /// and one to remove.
    pub(crate) fn members_bytes_max(&self) -> usize {
        let documents = bytes(self.limits.document_bytes_max).saturating_mul(2);
        documents
            .saturating_add(INCREMENT_BYTES_MAX)
            .min(bytes(self.limits.transaction_bytes_max))
    }
}

fn bytes(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn unavailable(dataset: &str, reason: &str) -> Problem {
    let (reason, hint) = apart(reason);
    let restart = "mend what the reason names and restart the region; its other datasets run";
    Problem::new(
        Kind::DatasetUnavailable,
        format!("dataset {dataset:?} could not be opened: {reason}"),
    )
    .hint(hint.unwrap_or(restart))
    .member("dataset", dataset)
}

/// A dataset that doesn't run yet.
fn absent(dataset: &str, reason: &str) -> Problem {
    let detail = format!("dataset {dataset:?} doesn't run in this region yet: {reason}");
    Problem::new(Kind::DatasetNotYet, detail)
        .hint("send it to another region, or again a little later")
        .member("dataset", dataset)
        .retry_after(1)
}

/// The value of a header that may come once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::new(
            Kind::BadHeader,
            format!("{name} is there more than once"),
        ));
    }
    let text = value.to_str();
    text.map(Some)
        .map_err(|_| Problem::new(Kind::BadHeader, format!("{name} is not ASCII text")))
}
