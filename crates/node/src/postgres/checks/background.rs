//! Comparing in the background, as the topology says how often and how fast.

use super::{CheckOrder, check};
use crate::dataset::{DatasetHandle, RepairConfig};
use crate::postgres::{PostgresConfig, PostgresState, SharedStatus};
use std::time::{Duration, Instant};

/// How often it is looked whether a comparison can begin that is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Compares, as often and as fast as the regions' tables are compared with each other, for as long as it is polled; nothing is mended without being asked for.
pub(crate) async fn compare_in_background(
    background: RepairConfig,
    config: PostgresConfig,
    dataset: DatasetHandle,
    status: SharedStatus,
) {
    if background.compare_every.is_zero() {
        return;
    }
    let order = CheckOrder {
        rows_per_second_max: Some(background.rows_per_second_max),
        ..CheckOrder::default()
    };
    loop {
        // Regions are not to begin all at once.
        let pause = background
            .compare_every
            .mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::time::sleep(pause).await;
        while status.now().state != PostgresState::Running {
            tokio::time::sleep(LOOK_EVERY.min(background.compare_every)).await;
        }
        let begun = Instant::now();
        let _turn = status.comparisons().turn().await;
        match check((&config, &dataset, &status), &order, &|_| ()).await {
            Ok(report) => {
                if report.differing > 0 {
                    tracing::error!(
                        dataset = dataset.name(),
                        rows = report.differing,
                        "the server's rows differ from those of the regions; \
                         `meridian postgres compare` shows them"
                    );
                }
                status.compared(report.integrity(begun.elapsed()));
            }
            Err(trouble) => {
                let (dataset, reason) = (dataset.name(), trouble.reason);
                tracing::warn!(dataset, reason, "the server was not compared");
            }
        }
    }
}
