//! One dataset from its arrival on: how it joins, and how it joins anew when it was evicted.
//!
//! ```text
//! founded ────────────────────────────────▶ voting ──▶ evicted, or removed
//!   ▲ nobody has it (`founding.rs`)             ▲         │
//! joining: copy ─▶ open ─▶ expected, counted ─▶ │         │ the members expect it again
//!   ▲   ▲           │ nobody holds what follows           │
//!   │   └─ discarded ◀┘                                   ▼
//!   └── old directory set aside ◀── closed ◀── own transactions to a shelf
//! ```
//!
//! Each step leaves a state on disk from which a restart goes on (`arrival.rs`).

use crate::arrival::Places;
use crate::aside::{Range, Resubmission, Shelf, ShelfError, Shelves, resubmit_all};
use crate::dataset::{
    AskPeers as _, BootstrapProgress, DatasetConfig, DatasetHandle, Input, Membership,
    OpenDatasetError, Questions, apart, bootstrap, describe, discard, is_full, look_after,
    needs_bootstrap,
};
use crate::founding::{Finding, find, to_found};
use crate::joining::Progress;
use crate::keeper::Keeper;
use crate::links::Peers;
use crate::postgres;
use crate::registry::DatasetState;
use meridian_model::{Answer, Epoch, Marks, Question, RegionName, Standing, Vector};
use meridian_replicate::{Arrival, OwnStanding};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often the members are asked whether they expect an evicted region again.
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long requests under way may hold an evicted incarnation's files.
const RELEASE_WITHIN: Duration = Duration::from_secs(60);
/// Between attempts at a step for which there was no room.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
const ROOM_HINT: &str = "make room; it goes on by itself";
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

/// Why a step can't be taken.
enum Obstacle {
    /// There is no room on the disk; once there is, the step is taken.
    Room(String),
    Trouble(Trouble),
}

impl From<OpenDatasetError> for Obstacle {
    fn from(error: OpenDatasetError) -> Self {
        Self::of(error.lacks_room(), describe(&error))
    }
}

impl From<ShelfError> for Obstacle {
    fn from(error: ShelfError) -> Self {
        Self::of(error.lacks_room(), describe(&error))
    }
}

impl Obstacle {
    fn of(lacks_room: bool, said: String) -> Self {
        if lacks_room {
            Self::Room(apart(&said).0.to_owned())
        } else {
            Self::Trouble(said)
        }
    }

    fn of_file(error: &io::Error, doing: &str) -> Self {
        Self::of(is_full(error), format!("{doing}: {error}"))
    }
}

/// Whether a dataset waits for room, and has said so.
struct Patience {
    dataset: String,
    waits: bool,
}

impl Patience {
    fn new(dataset: &str) -> Self {
        Self {
            dataset: dataset.to_owned(),
            waits: false,
        }
    }

    /// Waits a little, unless what stands in the way isn't room.
    async fn wait(&mut self, obstacle: Obstacle) -> Result<(), Trouble> {
        let reason = match obstacle {
            Obstacle::Room(reason) => reason,
            Obstacle::Trouble(trouble) => return Err(trouble),
        };
        if !std::mem::replace(&mut self.waits, true) {
            tracing::warn!(
                dataset = self.dataset,
                reason,
                hint = ROOM_HINT,
                "joining waits for room on the disk"
            );
        }
        tokio::time::sleep(ROOM_PAUSE).await;
        Ok(())
    }

    fn end(&self) {
        if self.waits {
            tracing::info!(dataset = self.dataset, "there is room: joining goes on");
        }
    }
}

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
            if joins(&handle).await {
                self.settle_in(&handle).await;
                counts_no_more(&handle).await;
                // What counts no more is no measure for others, and has nobody to be mended from.
                company.shutdown().await;
                if let Some(postgres) = &self.config.postgres {
                    company.spawn(postgres::counts_no_more(postgres.clone(), handle.clone()));
                }
                let expected = self.expected_again(&handle).await;
                company.shutdown().await;
                self.set_aside(handle, &expected).await?;
            } else {
                company.shutdown().await;
                self.discard_copy(handle).await?;
            }
            handle = self.join().await?;
        }
    }

    /// Fills the directory with a copy where it has none, and opens it.
    async fn join(&mut self) -> Result<DatasetHandle, Trouble> {
        let progress = Progress::default();
        progress.say("waits to be added by the members");
        let state = DatasetState::Joining(progress.clone());
        self.keeper.registry().set(&self.config.name, state);
        let mut patience = Patience::new(&self.config.name);
        loop {
            match self.try_to_join(&progress).await {
                Ok(handle) => {
                    patience.end();
                    return Ok(handle);
                }
                Err(obstacle) => {
                    if let Obstacle::Room(reason) = &obstacle {
                        progress.say(waits_for_room(reason));
                    }
                    patience.wait(obstacle).await?;
                }
            }
        }
    }

    async fn try_to_join(&mut self, progress: &Progress) -> Result<DatasetHandle, Obstacle> {
        let mark = self.places.clone();
        if !mark.is_joining() {
            // It was found to be founded here before, and there was no room for it.
            return self.open(Arrival::Founding).await;
        }
        mark.clear().map_err(|error| {
            let doing = "the evicted incarnation's directory can't be set aside";
            Obstacle::of_file(&error, doing)
        })?;
        let directory = self.config.directory.clone();
        let needs_copy = blocking(move || needs_bootstrap(&directory)).await??;
        if needs_copy && self.is_nowhere(progress).await? {
            return self.found(progress).await;
        }
        let candidates = self.candidates().await;
        if needs_copy {
            let told = progress.clone();
            let tell = move |at: BootstrapProgress| told.say(in_words(&at));
            let asked = self.questions();
            bootstrap(&self.config, &asked, candidates.clone(), tell).await?;
        }
        progress.say("opens the copy");
        let handle = self.open(Arrival::Joining).await?;
        handle.send(Input::Sponsors { peers: candidates });
        Ok(handle)
    }

    async fn open(&self, arrival: Arrival) -> Result<DatasetHandle, Obstacle> {
        let mut config = self.config.clone();
        config.replica.arrival = arrival;
        let keeper = self.keeper.clone();
        Ok(blocking(move || keeper.try_open(config)).await??)
    }

    /// Founds the dataset, of which there is nothing. From here on it is as if the region had been
    /// started without `--join`, after a crash too.
    async fn found(&self, progress: &Progress) -> Result<DatasetHandle, Obstacle> {
        tracing::info!(
            dataset = self.config.name,
            "no region has the dataset: it is founded"
        );
        progress.say("is founded");
        self.discard().await?;
        self.places.end().map_err(|error| {
            Obstacle::of_file(&error, "the mark of a joining dataset can't be removed")
        })?;
        self.open(Arrival::Founding).await
    }

    /// Whether no region has the dataset, once that is known.
    async fn is_nowhere(&mut self, progress: &Progress) -> Result<bool, Obstacle> {
        let evicted = self.places.evicted().map_err(|error| {
            Obstacle::of_file(&error, "the mark of a joining dataset can't be read")
        })?;
        if evicted.is_some() {
            return Ok(false);
        }
        let (regions, witnesses) = (
            self.config.replica.regions.clone(),
            self.config.replica.witnesses.clone(),
        );
        loop {
            let to_found = to_found(&regions, &self.voting_elsewhere());
            progress.would_found(to_found.clone().ok());
            let found = find(&to_found, &witnesses, &self.ask_all(&regions).await);
            match found {
                Finding::Somewhere => {
                    progress.would_found(None);
                    return Ok(false);
                }
                Finding::Nowhere => return Ok(true),
                Finding::Unknown(reason) => progress.say(format!("waits to be added: {reason}")),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// The epochs of the other datasets in which this region votes.
    fn voting_elsewhere(&self) -> Vec<Epoch> {
        let datasets = self.keeper.registry().now();
        let running = datasets.values().filter_map(DatasetState::running);
        let memberships = running.map(DatasetHandle::membership);
        memberships
            .filter(|membership| membership.standing == OwnStanding::Voting)
            .map(|membership| membership.epoch.clone())
            .collect()
    }

    /// Which epoch each of these regions, and whoever else is talked to, has of the dataset.
    async fn ask_all(&self, regions: &[RegionName]) -> BTreeMap<RegionName, Result<Epoch, String>> {
        let mut asked: BTreeSet<_> = self.peers.borrow().dialled.keys().cloned().collect();
        asked.extend(regions.iter().cloned());
        asked.remove(&self.region);
        let mut answers = JoinSet::new();
        for peer in asked {
            let questions = self.questions();
            answers.spawn(async move {
                let answer = questions.ask(&peer, Question::Epoch, ANSWER_WITHIN).await;
                let epoch = match answer {
                    Ok(Answer::Epoch(epoch)) => Ok(epoch),
                    Ok(_) => Err(format!("region {peer} answered another question")),
                    Err(error) => Err(error.to_string()),
                };
                (peer, epoch)
            });
        }
        answers.join_all().await.into_iter().collect()
    }

    fn questions(&self) -> (Arc<str>, Questions) {
        let name = self.config.name.as_str();
        let questions = self.keeper.registry().questions(name).cloned();
        (Arc::from(name), questions.unwrap_or_default())
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
        let given_up = loop {
            match self.given_up() {
                Ok(rows) => break rows,
                Err(_) if handle.membership().standing != OwnStanding::Voting => return,
                Err(error) => {
                    tracing::warn!(%error, "the rows that were given up can't be read");
                    tokio::time::sleep(RESUBMIT_PAUSE).await;
                }
            }
        };
        let shelves = self.shelves.all().into_iter();
        for shelf in shelves.filter(|shelf| shelf.dataset() == self.config.name) {
            if !self.resubmit(&shelf, handle, &given_up).await {
                return;
            }
        }
        if let Some(postgres) = &self.config.postgres
            && let Err(error) = postgres::forget_given_up(&postgres.directory)
        {
            tracing::warn!(%error, "the rows that were given up can't be forgotten");
        }
    }

    /// The rows of which somebody chose the other regions' side while this region joined anew.
    fn given_up(&self) -> io::Result<BTreeSet<(String, String)>> {
        let Some(postgres) = &self.config.postgres else {
            return Ok(BTreeSet::new());
        };
        let rows = postgres::given_up(&postgres.directory)?.into_iter();
        Ok(rows.map(|row| (row.table, row.key)).collect())
    }

    /// Whether all that waits there has been looked at.
    async fn resubmit(
        &self,
        shelf: &Arc<Shelf>,
        handle: &DatasetHandle,
        given_up: &BTreeSet<(String, String)>,
    ) -> bool {
        loop {
            let standing = handle.membership().standing.clone();
            if standing != OwnStanding::Voting {
                return false;
            }
            let error = match resubmit_all(shelf, handle, given_up).await {
                Ok(()) => return true,
                Err(Resubmission::Execute(crate::dataset::ExecuteError::ShuttingDown)) => {
                    return false;
                }
                Err(error) => error,
            };
            tracing::warn!(error = %describe(&error), "cannot write again what was set aside yet");
            tokio::time::sleep(RESUBMIT_PAUSE).await;
        }
    }

    /// Waits until the members expect this region anew.
    async fn expected_again(&mut self, handle: &DatasetHandle) -> Expected {
        let number = handle.membership().epoch.number;
        tracing::error!(
            dataset = self.config.name,
            hint = handle.way_back(),
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
                // What it holds it says only to those who count.
                let answer = handle.ask(&peer, Question::Applied, ANSWER_WITHIN).await;
                if let Ok(Answer::Applied(held)) = answer {
                    return Expected { epoch, held };
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Copies what it alone held to shelves, ends the incarnation, and moves its directory away.
    async fn set_aside(&self, handle: DatasetHandle, expected: &Expected) -> Result<(), Trouble> {
        let mut patience = Patience::new(&self.config.name);
        while let Err(obstacle) = self.shelve(&handle, expected).await {
            patience.wait(obstacle).await?;
        }
        patience.end();
        self.close(handle).await
    }

    async fn close(&self, handle: DatasetHandle) -> Result<(), Trouble> {
        if self.keeper.close(handle, RELEASE_WITHIN).await {
            return Ok(());
        }
        Err("requests still hold the earlier incarnation's files; restart the region".to_owned())
    }

    /// Ends an incarnation that never began, and throws its copy away.
    async fn discard_copy(&self, handle: DatasetHandle) -> Result<(), Trouble> {
        tracing::warn!(
            dataset = self.config.name,
            "no region holds what follows the copy any more: the tables are copied anew"
        );
        self.close(handle).await?;
        let mut patience = Patience::new(&self.config.name);
        while let Err(obstacle) = self.discard().await {
            patience.wait(obstacle).await?;
        }
        patience.end();
        Ok(())
    }

    async fn discard(&self) -> Result<(), Obstacle> {
        let directory = self.config.directory.clone();
        Ok(blocking(move || discard(&directory)).await??)
    }

    /// Copies what it alone held to shelves, and notes that it joins anew. May be done again.
    async fn shelve(&self, handle: &DatasetHandle, expected: &Expected) -> Result<(), Obstacle> {
        let membership = handle.membership();
        let OwnStanding::Evicted { held, .. } = membership.standing else {
            let trouble = "it was to join anew without having been evicted".to_owned();
            return Err(Obstacle::Trouble(trouble));
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
            let shelf = blocking(fill).await??;
            tracing::info!(
                dataset = self.config.name,
                origin = %shelf.origin(),
                transactions = shelf.len(),
                "set aside what the members don't hold"
            );
            self.shelves.add(shelf);
        }
        let begun = self.places.begin(Some(origin));
        begun.map_err(|error| Obstacle::of_file(&error, "that it joins anew can't be written down"))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Obstacle> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Obstacle::Trouble(error.to_string()))
}

/// What a member said that expects this region anew.
struct Expected {
    epoch: Epoch,
    /// What its tables show; of those that count no more, that is all that any member ever will.
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

/// Waits until this incarnation is past joining; `false` where it never will be with the copy that it
/// has.
async fn joins(handle: &DatasetHandle) -> bool {
    let mut members = handle.membership_changes();
    let is_joining = |it: &Membership| matches!(it.standing, OwnStanding::Joining { .. });
    let settled = members.wait_for(|it| it.needs_new_copy || !is_joining(it));
    settled.await.map_or(true, |it| !it.needs_new_copy)
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

fn waits_for_room(reason: &str) -> String {
    format!("waits for room on the disk: {reason}\n\nhint: {ROOM_HINT}")
}

fn in_words(at: &BootstrapProgress) -> String {
    let copied = format!(
        "copies from {}: {} records, {} bytes",
        at.sponsor, at.records, at.bytes
    );
    if let Some(lack) = &at.waits_for_room {
        let waits = waits_for_room(lack);
        return if at.records == 0 {
            waits
        } else {
            format!("{copied}; {waits}")
        };
    }
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
