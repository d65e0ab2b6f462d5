//! Comparisons that somebody asked for: one at a time, the last few kept to be read.

use super::{CheckOrder, ServerReport, check};
use crate::dataset::DatasetHandle;
use crate::postgres::{PostgresConfig, SharedStatus};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard};
use utoipa::ToSchema;

/// Comparisons whose outcome is kept.
const KEPT_MAX: usize = 16;

/// A comparison of a server that was asked for.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Comparison {
    /// What to ask for it by.
    id: u64,
    /// The region whose server it is.
    region: String,
    dataset: String,
    /// Whether it is over.
    done: bool,
    took_seconds: Option<f64>,
    /// Why it did not come to its end, if so.
    error: Option<String>,
    /// What to do about that.
    hint: Option<String>,
    #[serde(flatten)]
    report: ServerReport,
}

/// The comparisons of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparisons(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kept: Mutex<BTreeMap<u64, Comparison>>,
    turn: AsyncMutex<()>,
}

impl Comparisons {
    /// Waits until no other one is under way.
    pub(super) async fn turn(&self) -> AsyncGuard<'_, ()> {
        self.0.turn.lock().await
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<u64, Comparison>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was asked for.
    pub(crate) fn get(&self, id: u64) -> Option<Comparison> {
        self.kept().get(&id).cloned()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Comparison)) {
        if let Some(comparison) = self.kept().get_mut(&id) {
            change(comparison);
        }
    }

    /// Begins one; `None` while another is under way.
    pub(crate) fn begin(
        &self,
        config: PostgresConfig,
        dataset: &DatasetHandle,
        order: CheckOrder,
    ) -> Option<Comparison> {
        let mut kept = self.kept();
        if kept.values().any(|comparison| !comparison.done) {
            return None;
        }
        let comparison = Comparison {
            id: kept.last_key_value().map_or(0, |(id, _)| *id) + 1,
            region: dataset.region().to_string(),
            dataset: dataset.name().to_owned(),
            ..Comparison::default()
        };
        kept.insert(comparison.id, comparison.clone());
        while kept.len() > KEPT_MAX {
            kept.pop_first();
        }
        drop(kept);
        let (all, dataset, id) = (self.clone(), dataset.clone(), comparison.id);
        let status = dataset.postgres().clone();
        tokio::spawn(async move { all.carry_out(id, (config, dataset, status), order).await });
        Some(comparison)
    }

    async fn carry_out(
        &self,
        id: u64,
        (config, dataset, status): (PostgresConfig, DatasetHandle, SharedStatus),
        order: CheckOrder,
    ) {
        let _turn = self.turn().await;
        let begun = Instant::now();
        let tell = |so_far: &ServerReport| {
            self.change(id, |comparison| comparison.report.clone_from(so_far));
        };
        let outcome = check((&config, &dataset, &status), &order, &tell).await;
        let took = begun.elapsed();
        self.change(id, |comparison| {
            comparison.done = true;
            comparison.took_seconds = Some(took.as_secs_f64());
            match &outcome {
                Ok(report) => comparison.report.clone_from(report),
                Err(trouble) => {
                    comparison.error = Some(trouble.reason.clone());
                    comparison.hint.clone_from(&trouble.hint);
                }
            }
        });
        if let Ok(report) = outcome
            && order.tables.is_empty()
        {
            status.compared(report.integrity(took));
        }
    }
}
