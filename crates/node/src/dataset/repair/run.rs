//! Running a comparison: the machine decides, this asks, reads and mends for it.

use super::super::{DatasetHandle, MachineClock, describe};
use super::{Completed, Progress, answer};
use meridian_model::{Answer, Question, RegionName};
use meridian_replicate::compare::{Comparison, Mended, Mending, Plan, Reply, Scope, Step};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a peer may take to answer, its own catching up included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long this region may take to apply what a good copy has seen.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// A comparison to run.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What to compare.
    pub(crate) scope: Scope,
    /// Whether to mend what is bad here.
    pub(crate) repair: bool,
    /// Whose copies are right, where a person has decided.
    pub(crate) prefer: Option<RegionName>,
    /// How many rows a second at most; as fast as it goes where it is `None`.
    pub(crate) rows_per_second_max: Option<u64>,
}

/// A comparison could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The region is alone.
    #[error("there is no peer to compare with")]
    NoPeers,
    /// The region is shutting down.
    #[error("the region is shutting down")]
    ShuttingDown,
}

/// Runs a comparison to its end, after those that run already. `progress` is told of every step.
pub(crate) async fn run(
    dataset: &DatasetHandle,
    request: Request,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Completed, RunError> {
    let repairs = dataset.repairs().clone();
    let turn = repairs.0.comparing.acquire().await;
    let _turn = turn.map_err(|_| RunError::ShuttingDown)?;
    run_now(dataset, request, progress).await
}

/// The same without waiting for others.
pub(super) async fn run_now(
    dataset: &DatasetHandle,
    request: Request,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Completed, RunError> {
    let Request {
        scope,
        repair,
        prefer,
        rows_per_second_max,
    } = request;
    let peers = peers(dataset);
    if peers.is_empty() {
        return Err(RunError::NoPeers);
    }
    let mut comparison = Comparison::new(Plan {
        own: dataset.region().clone(),
        regions: peers.len() + 1,
        peers,
        scope: scope.clone(),
        repair,
        prefer,
    });
    let started = Instant::now();
    loop {
        let reply = match comparison.due() {
            Step::Done => break,
            Step::Section {
                span,
                rows_max,
                leaf_rows,
            } => {
                let pace = Pace::start(rows_per_second_max);
                let reply = section(dataset, move |snapshot| {
                    snapshot.section(&span, rows_max, leaf_rows)
                });
                let reply = reply.await;
                pace.keep(&reply).await;
                reply
            }
            Step::Ask(questions) => Reply::Answers(ask(dataset, questions).await),
            Step::Mend(mendings) => mend(dataset, mendings).await,
        };
        comparison.take(reply);
        let report = comparison.report();
        let so_far = Progress {
            rows: report.rows,
            found: report.found,
            mended: report.mended,
        };
        dataset.repairs().state().running = Some(so_far);
        progress(so_far);
    }
    let completed = Completed {
        at: MachineClock::start().now().wall,
        took: started.elapsed(),
        report: comparison.report().clone(),
    };
    conclude(dataset, &scope, &completed);
    Ok(completed)
}

/// The other regions that hold all rows.
pub(super) fn peers(dataset: &DatasetHandle) -> Vec<RegionName> {
    let membership = dataset.membership();
    let voters = membership.epoch.voters().map(|(region, _)| region);
    let others = voters.filter(|region| *region != dataset.region() && !dataset.is_witness(region));
    others.cloned().collect()
}

/// Notes what came of it, and says what somebody should look at.
fn conclude(dataset: &DatasetHandle, scope: &Scope, completed: &Completed) {
    let mut state = dataset.repairs().state();
    state.running = None;
    let waiting = state.ended(scope, completed);
    drop(state);
    let (name, report) = (dataset.name(), &completed.report);
    if report.mended > 0 {
        let (found, mended) = (report.found, report.mended);
        tracing::warn!(
            dataset = name,
            found,
            mended,
            "bad copies of rows were mended"
        );
    }
    if waiting > 0 {
        tracing::error!(
            dataset = name,
            waiting,
            hint = "see `meridian tables compare`",
            "rows differ between regions"
        );
    }
    if let Some(reason) = &report.failed {
        tracing::warn!(dataset = name, reason, "a comparison ended early");
    }
}

type Snapshot = meridian_engine_kv::Snapshot<
    <meridian_engine_kv::FjallStore as meridian_engine_kv::Store>::View,
>;

async fn section(
    dataset: &DatasetHandle,
    read: impl FnOnce(
        &Snapshot,
    )
        -> Result<meridian_replicate::compare::Section, meridian_engine_kv::TablesError>
    + Send
    + 'static,
) -> Reply {
    let Some((snapshot, _)) = dataset.view().await else {
        return Reply::Failed("the tables here don't follow the log".to_owned());
    };
    match tokio::task::spawn_blocking(move || read(&snapshot)).await {
        Ok(Ok(section)) => Reply::Section(section),
        Ok(Err(error)) => Reply::Failed(describe(&error)),
        Err(error) => Reply::Failed(error.to_string()),
    }
}

async fn ask(
    dataset: &DatasetHandle,
    questions: Vec<(RegionName, Question)>,
) -> Vec<(RegionName, Result<Answer, String>)> {
    let mut asked = JoinSet::new();
    for (region, question) in questions {
        let dataset = dataset.clone();
        asked.spawn(async move {
            let answer = ask_one(&dataset, &region, question).await;
            (region, answer)
        });
    }
    asked.join_all().await
}

pub(super) async fn ask_one(
    dataset: &DatasetHandle,
    region: &RegionName,
    question: Question,
) -> Result<Answer, String> {
    if region != dataset.region() {
        let answer = dataset.ask(region, question, ANSWER_TIMEOUT).await;
        return answer.map_err(|error| error.to_string());
    }
    match answer(dataset, question).await {
        Answer::Unavailable { reason } => Err(reason),
        answer => Ok(answer),
    }
}

async fn mend(dataset: &DatasetHandle, mendings: Vec<Mending>) -> Reply {
    for mending in &mendings {
        if !dataset.wait_for(&mending.as_of, CATCH_UP_TIMEOUT).await {
            return Reply::Mended(vec![Mended::MovedOn; mendings.len()]);
        }
    }
    match dataset.mend(mendings).await {
        Some(outcomes) => Reply::Mended(outcomes),
        None => Reply::Failed("the dataset has ended".to_owned()),
    }
}

/// Keeps a scan to so many rows a second.
struct Pace {
    started: Instant,
    rows_per_second_max: Option<u64>,
}

impl Pace {
    fn start(rows_per_second_max: Option<u64>) -> Self {
        Self {
            started: Instant::now(),
            rows_per_second_max,
        }
    }

    async fn keep(self, reply: &Reply) {
        let (Some(rate), Reply::Section(section)) = (self.rows_per_second_max, reply) else {
            return;
        };
        let leaves = section.leaves.iter();
        let rows: u64 = leaves.map(|(_, leaf)| leaf.rows + leaf.damaged).sum();
        let due = Duration::from_secs(rows) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
        tokio::time::sleep(due.saturating_sub(self.started.elapsed())).await;
    }
}
