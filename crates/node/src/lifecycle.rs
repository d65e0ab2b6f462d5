//! One dataset from its arrival on: how it joins, and how it joins anew when it was evicted.
//!
//! ```text
//! founded ────────────────────────────────▶ voting ──▶ evicted, or removed
//! joining: copy ─▶ open ─▶ expected, counted ─▶ │         │ the members expect it again
//!   ▲                                                     ▼
//!   └── old directory set aside ◀── closed ◀── own transactions to a shelf
//! ```
//!
//! Each step leaves a state on disk from which a restart goes on (`arrival.rs`).

use crate::arrival::Places;
use crate::aside::{Range, Resubmission, Shelf, Shelves, resubmit_all};
use crate::dataset::{
    BootstrapProgress, DatasetConfig, DatasetHandle, Input, bootstrap, describe, look_after,
    needs_bootstrap,
};
use crate::joining::Progress;
use crate::keeper::Keeper;
use crate::links::Peers;
use crate::postgres;
use crate::registry::DatasetState;
use meridian_model::{Answer, Epoch, Marks, Question, RegionName, Standing, Vector};
use meridian_replicate::{Arrival, OwnStanding};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often the members are asked whether they expect an evicted region again.
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long requests under way may hold an evicted incarnation's files.
const RELEASE_WITHIN: Duration = Duration::from_secs(60);
/// Between attempts to write again what was set aside.
const RESUBMIT_PAUSE: Duration = Duration::from_secs(1);

/// What accompanies a dataset.
pub(crate) struct Lifecycle {
    pub(crate) region: RegionName,
    pub(crate) keeper: Keeper,
    pub(crate) config: DatasetConfig,
    pub(crate) places: Places,
    pub(crate) shelves: Shelves,
    pub(crate) peers: watch::Receiver<Peers>,
}

/// Why a dataset can't go on by itself.
type Trouble = String;

impl Lifecycle {
    /// Accompanies the dataset for as long as it is polled. `handle` is `None` where it joins.
    pub(crate) async fn run(mut self, handle: Option<DatasetHandle>) {
        if let Err(reason) = self.accompany(handle).await {
            self.keeper.fail(&self.config.name, &reason);
        }
    }

    async fn accompany(&mut self, handle: Option<DatasetHandle>) -> Result<(), Trouble> {
        let mut handle = match handle {
            Some(handle) => handle,
            None => self.join().await?,
        };
        loop {
            let mut company = JoinSet::new();
            if !handle.is_witness(handle.region()) {
                company.spawn(look_after(handle.clone()));
                if let Some(postgres) = &self.config.postgres {
                    let (config, status) = (postgres.clone(), handle.postgres().clone());
                    company.spawn(postgres::compare_in_background(
                        self.config.repair,
                        config.clone(),
                        handle.clone(),
                        status.clone(),
                    ));
                    company.spawn(postgres::look_after(config, handle.clone(), status));
                }
            }
            self.settle_in(&handle).await;
            counts_no_more(&handle).await;
            // What counts no more is no measure for others, and has nobody to be mended from.
            company.shutdown().await;
            let expected = self.expected_again(&handle).await;
            self.set_aside(handle, &expected).await?;
            handle = self.join().await?;
        }
    }

    /// Fills the directory with a copy where it has none, and opens it.
    async fn join(&mut self) -> Result<DatasetHandle, Trouble> {
        let name = self.config.name.clone();
        let progress = Progress::default();
        progress.say("waits to be added by the members");
        let registry = self.keeper.registry().clone();
        registry.set(&name, DatasetState::Joining(progress.clone()));
        self.places.clear().map_err(|error| {
            format!("the evicted incarnation's directory can't be set aside: {error}")
        })?;
        let directory = self.config.directory.clone();
        let needs_copy = tokio::task::spawn_blocking(move || needs_bootstrap(&directory))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| describe(&error))?;
        let candidates = self.candidates().await;
        if needs_copy {
            let asked = (
                Arc::from(name.as_str()),
                registry.questions(&name).cloned().unwrap_or_default(),
            );
            let told = progress.clone();
            let tell = move |at: BootstrapProgress| told.say(in_words(&at));
            bootstrap(&self.config, &asked, candidates.clone(), tell)
                .await
                .map_err(|error| describe(&error))?;
        }
        progress.say("opens the copy");
        let mut config = self.config.clone();
        config.replica.arrival = Arrival::Joining;
        let keeper = self.keeper.clone();
        let opened = tokio::task::spawn_blocking(move || keeper.open(config)).await;
        let opened = opened.map_err(|error| error.to_string())?;
        let handle = opened.ok_or_else(|| "the copy can't be opened, see above".to_owned())?;
        handle.send(Input::Sponsors { peers: candidates });
        Ok(handle)
    }

    /// The regions that could give a copy, once there are any.
    async fn candidates(&mut self) -> Vec<RegionName> {
        // An error means that nobody will change them any more; then it is what it is.
        let witnesses = &self.config.replica.witnesses;
        let with_tables = |peers: &Peers| -> Vec<RegionName> {
            let regions = peers.dialled.keys();
            let found = regions.filter(|region| !witnesses.contains(*region));
            found.cloned().collect()
        };
        let peers = self.peers.wait_for(|peers| !with_tables(peers).is_empty());
        peers
            .await
            .map_or_else(|_| Vec::new(), |peers| with_tables(&peers))
    }

    /// Once it counts, a dataset that joined is one like any other, and what an evicted
    /// incarnation alone held is written again.
    async fn settle_in(&self, handle: &DatasetHandle) {
        let mut members = handle.membership_changes();
        let settled = members.wait_for(|it| !matches!(it.standing, OwnStanding::Joining { .. }));
        if !settled
            .await
            .is_ok_and(|it| it.standing == OwnStanding::Voting)
        {
            return;
        }
        drop(members);
        if self.places.is_joining() {
            tracing::info!(dataset = self.config.name, "the region has joined");
            if let Err(error) = self.places.end() {
                tracing::warn!(%error, "the mark of a joining dataset can't be removed");
            }
        }
        let shelves = self.shelves.all().into_iter();
        for shelf in shelves.filter(|shelf| shelf.dataset() == self.config.name) {
            self.resubmit(&shelf, handle).await;
        }
    }

    async fn resubmit(&self, shelf: &Arc<Shelf>, handle: &DatasetHandle) {
        loop {
            let standing = handle.membership().standing.clone();
            if standing != OwnStanding::Voting {
                return;
            }
            let error = match resubmit_all(shelf, handle).await {
                Ok(()) => return,
                Err(Resubmission::Execute(crate::dataset::ExecuteError::ShuttingDown)) => return,
                Err(error) => error,
            };
            tracing::warn!(error = %describe(&error), "cannot write again what was set aside yet");
            tokio::time::sleep(RESUBMIT_PAUSE).await;
        }
    }

    /// Waits until the members expect this region anew.
    async fn expected_again(&mut self, handle: &DatasetHandle) -> Expected {
        let membership = handle.membership();
        let number = membership.epoch.number;
        // One that was removed is added like a new one.
        let verb = match membership.was_removed(&self.region) {
            true => "add",
            false => "rejoin",
        };
        tracing::error!(
            dataset = self.config.name,
            hint = format!("meridian regions {verb} {}", self.region),
            "this region counts no more"
        );
        loop {
            let peers: Vec<_> = self.peers.borrow().dialled.keys().cloned().collect();
            for peer in peers {
                let answer = handle.ask(&peer, Question::Epoch, ANSWER_WITHIN).await;
                let Ok(Answer::Epoch(epoch)) = answer else {
                    continue;
                };
                let member = epoch.members.get(&self.region);
                let is_expected = member
                    .is_some_and(|it| it.standing == Standing::Joining && it.origin.is_none());
                if epoch.number <= number || !is_expected {
                    continue;
                }
                let answer = handle.ask(&peer, Question::Held, ANSWER_WITHIN).await;
                if let Ok(Answer::Held(held)) = answer {
                    return Expected { epoch, held };
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Copies what it alone held to shelves, ends the incarnation, and moves its directory away.
    async fn set_aside(&self, handle: DatasetHandle, expected: &Expected) -> Result<(), Trouble> {
        let membership = handle.membership();
        let OwnStanding::Evicted { held, .. } = membership.standing else {
            return Err("it was to join anew without having been evicted".to_owned());
        };
        let (origin, log) = (handle.origin(), handle.log());
        let mut ranges = expected.beyond(&membership.epoch, &self.region, &log.marks());
        ranges.push(Range::Own { origin, held });
        for range in ranges {
            let (directory, name, log) = (
                self.shelves.directory().to_owned(),
                self.config.name.clone(),
                log.clone(),
            );
            let fill = move || Shelf::fill(&directory, &name, range, &log);
            let shelf = tokio::task::spawn_blocking(fill)
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| describe(&error))?;
            tracing::info!(
                dataset = self.config.name,
                origin = %shelf.origin(),
                transactions = shelf.len(),
                "set aside what the members don't hold"
            );
            self.shelves.add(shelf);
        }
        self.places
            .begin(Some(origin))
            .map_err(|error| format!("that it joins anew can't be written down: {error}"))?;
        if self.keeper.close(handle, RELEASE_WITHIN).await {
            return Ok(());
        }
        Err("requests still hold the evicted incarnation's files; restart the region".to_owned())
    }
}

/// What a member said that expects this region anew.
struct Expected {
    epoch: Epoch,
    /// What it holds; of those that count no more, that is all that any member ever will.
    held: Vector,
}

impl Expected {
    /// Of the other incarnations that counted in `before` and do no more: what is in a log that
    /// stands at `marks` and no member holds.
    fn beyond(&self, before: &Epoch, own: &RegionName, marks: &Marks) -> Vec<Range> {
        let others = before.members.iter().filter(|(region, _)| *region != own);
        let beyond = others.filter_map(|(region, member)| {
            let origin = member.origin?;
            let now = self.epoch.members.get(region);
            let counts = now.is_some_and(|now| now.origin == Some(origin));
            let held = self.held.get(origin);
            let is_beyond = !counts && marks.get(origin).hlc > held;
            is_beyond.then_some(Range::Others { origin, held })
        });
        beyond.collect()
    }
}

/// Waits until this incarnation counts no more.
async fn counts_no_more(handle: &DatasetHandle) {
    let mut members = handle.membership_changes();
    let evicted = members.wait_for(|it| matches!(it.standing, OwnStanding::Evicted { .. }));
    if evicted.await.is_err() {
        // The dataset has ended with its region.
        std::future::pending::<()>().await;
    }
}

fn in_words(at: &BootstrapProgress) -> String {
    let copied = format!(
        "copies from {}: {} records, {} bytes",
        at.sponsor, at.records, at.bytes
    );
    match &at.last_error {
        Some(error) if at.records == 0 => format!("waits to be added: {error}"),
        Some(error) => format!("{copied} (attempt {}: {error})", at.attempt),
        None => copied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, Mark, Member, OriginId, Sequence};

    #[test]
    fn what_no_member_holds_of_others_that_count_no_more_is_set_aside_too() {
        let epoch = |number, members: &[(&str, u64)]| Epoch {
            number,
            members: members
                .iter()
                .map(|(region, origin)| {
                    let member = Member {
                        origin: (*origin > 0).then_some(OriginId(*origin)),
                        standing: Standing::Voting,
                        address: None,
                    };
                    (RegionName::new(region), member)
                })
                .collect(),
        };
        let mark = |hlc| Mark {
            sequence: Sequence(hlc),
            hlc: Hlc::from_raw(hlc),
            ..Mark::default()
        };
        let marks: Marks = (1..=5).map(|origin| (OriginId(origin), mark(9))).collect();
        // Of those that were there: one has gone for good, one has come back as another, one is still
        // there, and all that another wrote is held.
        let before = epoch(
            0,
            &[
                ("own", 1),
                ("gone", 2),
                ("back", 3),
                ("there", 4),
                ("held", 5),
            ],
        );
        let held = [(3, 7), (4, 8), (5, 9)];
        let expected = Expected {
            epoch: epoch(4, &[("own", 0), ("back", 6), ("there", 4)]),
            held: held
                .map(|(origin, hlc)| (OriginId(origin), Hlc::from_raw(hlc)))
                .into_iter()
                .collect(),
        };
        let found = expected.beyond(&before, &RegionName::new("own"), &marks);
        let found: Vec<_> = found
            .into_iter()
            .map(|range| match range {
                Range::Others { origin, held } => (origin.0, held.raw()),
                Range::Own { origin, .. } => panic!("{origin} is not asked for here"),
            })
            .collect();
        assert_eq!(found, [(3, 7), (2, 0)]);
    }
}
