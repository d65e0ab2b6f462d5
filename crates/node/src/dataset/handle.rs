//! Handles to a dataset's thread, and what can be asked of it.

use super::capturing::{CaptureError, CapturedTransaction};
use super::repair::Repairs;
use super::{AskError, DelaySummary, Integrity, LogDisk, Questions, Shortage};
use crate::postgres::SharedStatus;
use bytes::Bytes;
use meridian_engine_kv::{
    FjallStore, LetterCounts, Outcome, Rejection, Request, Snapshot, Store, TableReader,
    TablesView, Verdict,
};
use meridian_log::Reader;
use meridian_model::{
    Answer, CapturedAt, Conflict, Epoch, Hlc, Message, OriginId, Position, Question, Refusal,
    RegionName, RowName, Sequence, SnapshotId, Standing, Vector, Version,
};
use meridian_replicate::compare::{Mended, Mending};
use meridian_replicate::{
    Deciding, Opened, OwnStanding, PeerStatus, Proposal, ProposeError, Reckoning, Shortfall,
    SnapshotRefusal, Standstill, StrongRead, has_reached, reachable,
};
use meridian_topology::Promises;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

/// For so long a region that asks what is held here waits until the two are known to agree on who
/// counts.
const AGREED_WITHIN: Duration = Duration::from_secs(2);

/// What a dataset's thread is asked to do.
pub(crate) enum Input {
    /// Execute a client's transaction.
    Execute {
        request: Request,
        reply: oneshot::Sender<Result<Written, ExecuteError>>,
    },
    /// Decide about a dead letter.
    Decide {
        letter: Version,
        verdict: Verdict,
        reply: oneshot::Sender<Result<Written, ExecuteError>>,
    },
    /// A dialled connection to a peer stands; messages for the peer go into `outbox`.
    Connected {
        peer: RegionName,
        wire_version: u16,
        outbox: async_mpsc::UnboundedSender<Bytes>,
    },
    /// It could not be made, or ended.
    Disconnected { peer: RegionName, reason: String },
    /// The peer said something on it.
    Message { peer: RegionName, message: Message },
    /// A subscriber holds entries of this region that its log has lost, or others in their place.
    Disown { reason: Refusal },
    /// A subscriber holds this much durably.
    Holds {
        member: OriginId,
        held: Vec<(OriginId, Sequence)>,
    },
    /// Say when enough regions hold what is durable here now.
    Barrier {
        reply: oneshot::Sender<Result<(), Shortfall>>,
    },
    /// Begin to decide about another membership.
    Propose {
        proposal: Proposal,
        reply: oneshot::Sender<Result<(), ProposeError>>,
    },
    /// Whether a region may subscribe, under this incarnation.
    Refusal {
        region: RegionName,
        origin: OriginId,
        reply: oneshot::Sender<Option<Refusal>>,
    },
    /// Where to listen before this region's own stream begins.
    Sponsors { peers: Vec<RegionName> },
    /// Take these rows over from another region, as part of the round.
    Mend {
        mendings: Vec<Mending>,
        reply: oneshot::Sender<Vec<Mended>>,
    },
    /// Take over the row that stops the tables.
    Unblock {
        mending: Mending,
        reply: oneshot::Sender<bool>,
    },
    /// Show one state of the tables, and all that it has applied. `None` while they don't follow
    /// the log.
    View {
        reply: oneshot::Sender<Option<ExactView>>,
    },
    /// Show where a damaged row has stopped the tables.
    Standstill {
        reply: oneshot::Sender<Option<StoppedView>>,
    },
    /// Show the state of the row that stops the tables, and all that the log holds.
    Blocked {
        row: RowName,
        reply: oneshot::Sender<Option<(u64, Vector)>>,
    },
    /// Take transactions that an engine committed, in its order, as part of the round.
    Capture {
        transactions: Vec<CapturedTransaction>,
        reply: oneshot::Sender<Result<(), CaptureError>>,
    },
    /// Say what was captured last.
    Captured {
        reply: oneshot::Sender<Option<(CapturedAt, Vector)>>,
    },
    /// Keep the log from here on.
    KeepFrom { position: Position },
    /// List these conflicts, which no transaction brought.
    Note { conflicts: Vec<Conflict> },
    /// Commit what waits, then end.
    Shutdown,
    /// A snapshot is read, from its beginning or on.
    Snapshot {
        id: SnapshotId,
        is_beginning: bool,
        reply: oneshot::Sender<Result<OpenedSnapshot, SnapshotRefusal>>,
    },
}

/// A client's transaction that is durable here.
#[derive(Clone, Debug)]
pub struct Written {
    /// What became of it.
    pub outcome: Outcome,
    /// Set where fewer regions are known to hold it than the dataset promises.
    pub shortfall: Option<Shortfall>,
}
/// A snapshot of a dataset's tables that stands open.
pub(crate) type OpenedSnapshot = Opened<TablesView<<FjallStore as Store>::View>>;

/// One state of the tables, and all that it has applied, no more and no less.
pub(crate) type ExactView = (Snapshot<<FjallStore as Store>::View>, Vector);

/// Tables that a damaged row has stopped, and what the log holds behind that.
pub(crate) type StoppedView = (Snapshot<<FjallStore as Store>::View>, Standstill<LogDisk>);

/// What the tables show between two rounds.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// Up to where they follow the log.
    pub(super) position: Position,
    /// All that they have applied.
    pub(super) applied: Arc<Vector>,
}

/// Why a client's transaction was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The request can't be executed: the client's matter.
    #[error(transparent)]
    Rejected(Rejection),
    /// The dataset takes no writes until somebody has looked.
    #[error("the dataset takes no writes: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// This incarnation of the region counts no more.
    #[error("the region doesn't count any more: {reason}")]
    Evicted {
        /// How this came.
        reason: String,
        /// Whether it left as planned.
        was_removed: bool,
    },
    /// The region takes no writes of clients yet, or no more.
    #[error("{reason}")]
    NotServing {
        /// Why.
        reason: String,
    },
    /// Peers have been away for so long that the log has used up its disk budget.
    #[error("the log takes {bytes} bytes of disk, and client writes may fill it up to {bytes_max}")]
    LogBudget {
        /// The log's size.
        bytes: u64,
        /// The budget.
        bytes_max: u64,
    },
    /// The disk is full; the transaction did not happen.
    #[error("the disk is full: {reason}")]
    DiskFull {
        /// What failed.
        reason: String,
    },
    /// The log could not be written; whether the transaction happened shows after a restart.
    #[error("the log can't be written: {reason}")]
    LogFailed {
        /// What failed.
        reason: String,
    },
    /// The transaction is durable, but the tables can't follow until somebody has looked.
    #[error("{reason}")]
    NotVisible {
        /// What failed.
        reason: String,
    },
    /// The region is shutting down; the transaction did not happen.
    #[error("the region is shutting down")]
    ShuttingDown,
}

/// How a peer stands with a dataset.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// The stream from it.
    pub status: PeerStatus,
    /// How long its transactions took to become visible here.
    pub delays: DelaySummary,
}

/// How a dataset stands; at most a tick (100 ms) old.
#[derive(Clone, Debug)]
pub struct DatasetStatus {
    /// This region's incarnation.
    pub origin: OriginId,
    /// Why no client writes are taken, if so.
    pub stopped: Option<String>,
    /// Whether client writes are taken already after a restart.
    pub settled: bool,
    /// The log's end.
    pub position: Position,
    /// The log's size on disk, in bytes.
    pub log_bytes: u64,
    /// Client writes are refused above this, in bytes.
    pub log_bytes_max: u64,
    /// What client writes wait for, where there is too little room for them.
    pub shortage: Option<Shortage>,
    /// Client transactions committed since the process started.
    pub transactions_local: u64,
    /// Peers' transactions applied since the process started.
    pub transactions_remote: u64,
    /// Commits (each one fdatasync) since the process started.
    pub commits: u64,
    /// The known members' incarnations.
    pub members: BTreeMap<RegionName, OriginId>,
    /// Each peer.
    pub peers: Vec<PeerReport>,
    /// The dead letters.
    pub letters: LetterCounts,
    /// A member that isn't known to read which side of rows somebody chose, if there is one.
    pub choices_unread_by: Option<RegionName>,
    /// Why a region that joins captures nothing for now: another may not understand what it would say.
    pub unread_absorption: Option<String>,
}

/// Who counts, as this region sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The members.
    pub epoch: Epoch,
    /// How this region stands.
    pub standing: OwnStanding,
    /// By member the epoch that it is known to go by.
    pub adopted: BTreeMap<RegionName, u64>,
    /// What is being decided.
    pub deciding: Option<Deciding>,
    /// Whether this region has accepted an epoch after its own, and doesn't know what became of that.
    pub awaits_outcome: bool,
    /// Of each incarnation that counts no more, the last clock reading that is ever to be had.
    pub cuts: BTreeMap<OriginId, Hlc>,
    /// Of which region each incarnation is, or was, as far as is known.
    pub incarnations: BTreeMap<OriginId, RegionName>,
    /// The members from which nothing has come for a while.
    pub away: BTreeSet<RegionName>,
    /// By member that leaves, whom it waits for.
    pub waits_for: BTreeMap<RegionName, BTreeSet<RegionName>>,
    /// Whether this region has to copy the tables anew: what follows its copy is held by nobody.
    pub needs_new_copy: bool,
}

/// Whether a region that counts no more left as planned: it knows no later epoch than that in which it
/// was to.
pub(crate) fn was_removed(epoch: &Epoch, region: &RegionName) -> bool {
    let member = epoch.members.get(region);
    member.is_some_and(|member| member.standing == Standing::Leaving)
}

impl Membership {
    /// Whether a region that counts no more left as planned.
    #[must_use]
    pub fn was_removed(&self, region: &RegionName) -> bool {
        was_removed(&self.epoch, region)
    }

    /// By what a region reckons, of which this is the membership.
    fn reckoning<'a>(&'a self, region: &'a RegionName, origin: OriginId) -> Reckoning<'a> {
        Reckoning {
            region,
            origin,
            standing: &self.standing,
            epoch: &self.epoch,
            adopted: &self.adopted,
            awaits_outcome: self.awaits_outcome,
        }
    }

    /// What a client has seen, without what was lost with a region that was given up: nobody could
    /// wait for that.
    fn reachable(&self, seen: &Vector) -> Vector {
        reachable(seen, &self.cuts)
    }
}

/// A handle to a running dataset; clones are cheap.
#[derive(Clone)]
pub struct DatasetHandle {
    pub(super) name: Arc<str>,
    pub(super) origin: OriginId,
    pub(super) inbox: mpsc::Sender<Input>,
    pub(super) tables: TableReader<FjallStore>,
    pub(super) log: Reader<LogDisk>,
    pub(super) applied: watch::Receiver<Arc<Vector>>,
    pub(super) status: Arc<Mutex<DatasetStatus>>,
    /// What the tables show; `None` while they don't follow the log.
    pub(super) shown: Arc<watch::Receiver<Option<Shown>>>,
    pub(super) questions: Questions,
    pub(super) promises: Arc<Promises>,
    pub(super) is_captured: bool,
    pub(super) postgres: SharedStatus,
    pub(super) region: RegionName,
    /// The other regions, the nearest first.
    pub(super) nearest: Arc<[RegionName]>,
    pub(super) witnesses: Arc<BTreeSet<RegionName>>,
    pub(super) membership: watch::Receiver<Arc<Membership>>,
    pub(super) repairs: Repairs,
}

impl DatasetHandle {
    /// What lets this region join anew once it counts no more: one that was removed is added like a new
    /// one.
    pub(crate) fn way_back(&self) -> String {
        let region = self.region();
        let verb = match self.membership().was_removed(region) {
            true => "add",
            false => "rejoin",
        };
        format!("meridian regions {verb} {region}")
    }

    /// The dataset's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The committed tables.
    #[must_use]
    pub fn tables(&self) -> &TableReader<FjallStore> {
        &self.tables
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> DatasetStatus {
        self.status
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// What has been applied here.
    #[must_use]
    pub fn applied(&self) -> Arc<Vector> {
        self.applied.borrow().clone()
    }

    /// Waits until all of `seen` has been applied here; `false` when it takes longer than
    /// `timeout`.
    pub async fn wait_for(&self, seen: &Vector, timeout: Duration) -> bool {
        let (mut applied, mut membership) = (self.applied.clone(), self.membership.clone());
        let waited = async {
            loop {
                let here = applied.borrow_and_update().clone();
                if has_reached(&here, seen) {
                    return true;
                }
                let reachable = membership.borrow_and_update().reachable(seen);
                if has_reached(&here, &reachable) {
                    return true;
                }
                // Whichever comes first; either may be the last for a long time.
                let changed = tokio::select! {
                    changed = applied.changed() => changed,
                    changed = membership.changed() => changed,
                };
                if changed.is_err() {
                    return false;
                }
            }
        };
        matches!(tokio::time::timeout(timeout, waited).await, Ok(true))
    }

    /// Executes a client's transaction. When this returns `Ok` it is durable here, and in as many
    /// other regions as the dataset promises, unless there is a shortfall.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn execute(&self, request: Request) -> Result<Written, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Input::Execute { request, reply }).is_err() {
            return Err(ExecuteError::ShuttingDown);
        }
        answer.await.unwrap_or_else(|_| {
            let reason = "the dataset ended before it could answer".to_owned();
            Err(ExecuteError::LogFailed { reason })
        })
    }

    /// Decides about a dead letter. The decision is durable here when this returns `Ok`.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn decide(&self, letter: Version, verdict: Verdict) -> Result<Written, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Decide {
            letter,
            verdict,
            reply,
        };
        if self.inbox.send(input).is_err() {
            return Err(ExecuteError::ShuttingDown);
        }
        answer.await.unwrap_or_else(|_| {
            let reason = "the dataset ended before it could answer".to_owned();
            Err(ExecuteError::LogFailed { reason })
        })
    }

    /// Whether a region holds no tables.
    #[must_use]
    pub fn is_witness(&self, region: &RegionName) -> bool {
        self.witnesses.contains(region)
    }

    /// Whether its rows are written in an engine beside this region, and captured from there.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.is_captured
    }

    /// How it stands with its server, where it has one.
    #[must_use]
    pub fn postgres(&self) -> &SharedStatus {
        &self.postgres
    }

    /// What the dataset promises to its clients.
    #[must_use]
    pub fn promises(&self) -> &Promises {
        &self.promises
    }

    /// A strong read with the number of the epoch by which it reckons. It begins once all that count
    /// are known to agree on who counts: in between, a write may have been confirmed by a region that
    /// counts no more, so that those who count now are no quorum for it. `None` when it takes longer
    /// than `timeout`.
    pub(crate) async fn strong_read(&self, timeout: Duration) -> Option<(u64, StrongRead)> {
        let mut changes = self.membership.clone();
        let agreed = changes.wait_for(|membership| {
            let reckoning = membership.reckoning(&self.region, self.origin);
            reckoning.may_read()
        });
        let agreed = tokio::time::timeout(timeout, agreed).await.ok()?;
        let membership = Arc::clone(&*agreed.ok()?);
        let held = self.log.marks().vector();
        let read = match self.promises.writes.home() {
            Some(home) if *home == self.region => StrongRead::at_home(held),
            Some(home) => StrongRead::of_home(home),
            None => {
                let voters = membership.epoch.voters().map(|(region, _)| region);
                let others = voters.filter(|region| **region != self.region).cloned();
                let (level, others) = (self.promises.acknowledgement, others.collect::<Vec<_>>());
                let stays = membership.standing == OwnStanding::Voting;
                StrongRead::of_members(level, held, &others, stays)
            }
        };
        Some((membership.epoch.number, read))
    }

    /// Whether this region goes by the epoch of this number.
    pub(crate) fn goes_by(&self, epoch: u64) -> bool {
        self.membership.borrow().epoch.number == epoch
    }

    /// Waits until this region goes by another epoch than that of this number.
    pub(crate) async fn goes_by_another(&self, epoch: u64) {
        let mut changes = self.membership.clone();
        let changed = changes.wait_for(|membership| membership.epoch.number != epoch);
        if changed.await.is_err() {
            // It has ended, and goes by none any more.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until as many regions hold all that is durable here now as hold an acknowledged write.
    ///
    /// # Errors
    /// [`Shortfall`] when it takes too long.
    pub(crate) async fn wait_held(&self) -> Result<(), Shortfall> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Barrier { reply });
        answer.await.unwrap_or_else(|_| {
            Err(Shortfall {
                level: self.promises.acknowledgement,
                needed: 0,
                holders: Vec::new(),
                waited: Duration::ZERO,
            })
        })
    }

    /// What the log here holds, for `peer` to reckon with. Who counts no more, or goes by an earlier
    /// epoch, and doesn't know it yet, reckons with a quorum that is none; so this waits for a while
    /// until the two are known to agree.
    ///
    /// # Errors
    /// Why the peer may not reckon with it.
    pub(crate) async fn held_for(&self, peer: &RegionName) -> Result<Vector, String> {
        let mut changes = self.membership.clone();
        let counts = |membership: &Membership| {
            let reckoning = membership.reckoning(&self.region, self.origin);
            membership.epoch.members.contains_key(peer) && reckoning.counts()
        };
        let decided = changes.wait_for(|membership| {
            let reckoning = membership.reckoning(&self.region, self.origin);
            reckoning.vouches_for(peer) || !counts(membership)
        });
        match tokio::time::timeout(AGREED_WITHIN, decided).await {
            Ok(Ok(membership)) if counts(&membership) => Ok(self.log.marks().vector()),
            Ok(_) => Err(format!(
                "region {peer} is no member there, or it is none itself"
            )),
            Err(_) => Err(format!(
                "the regions are changing, and it doesn't know whether it and region {peer} agree"
            )),
        }
    }

    /// Asks a peer something about this dataset.
    ///
    /// # Errors
    /// [`AskError`] when there is no answer within `timeout`.
    pub async fn ask(
        &self,
        peer: &RegionName,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, AskError> {
        self.questions
            .ask(&self.name, peer, question, timeout)
            .await
    }

    /// Who counts.
    #[must_use]
    pub fn membership(&self) -> Arc<Membership> {
        self.membership.borrow().clone()
    }

    /// Who counts, whenever that changes.
    #[must_use]
    pub fn membership_changes(&self) -> watch::Receiver<Arc<Membership>> {
        self.membership.clone()
    }

    /// Asks for another membership; it has begun to be decided when this returns `Ok`.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing has begun then.
    pub async fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Propose { proposal, reply });
        answer.await.unwrap_or_else(|_| {
            let reason = "the dataset is shutting down".to_owned();
            Err(ProposeError::Stopped { reason })
        })
    }

    /// Why a region gets nothing from here under this incarnation, if so.
    pub(crate) async fn refusal(&self, region: &RegionName, origin: OriginId) -> Option<Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Refusal {
            region: region.clone(),
            origin,
            reply,
        });
        answer.await.ok().flatten()
    }

    /// Whether no other handle to this incarnation is held, by a request or a link.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.name) == 1
    }

    /// The snapshot of this number, which is opened where `is_beginning`.
    pub(crate) async fn snapshot(
        &self,
        id: SnapshotId,
        is_beginning: bool,
    ) -> Result<OpenedSnapshot, SnapshotRefusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Snapshot {
            id,
            is_beginning,
            reply,
        });
        answer.await.unwrap_or_else(|_| {
            let reason = "the region is shutting down".to_owned();
            Err(SnapshotRefusal::Stopped { reason })
        })
    }

    /// How its rows compare with those of the peers.
    #[must_use]
    pub fn integrity(&self) -> Integrity {
        self.repairs.integrity()
    }

    pub(crate) fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    pub(crate) fn region(&self) -> &RegionName {
        &self.region
    }

    async fn request<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(input(reply)).ok()?;
        answer.await.ok()
    }

    /// Takes transactions that an engine committed, in the order of the calls: each is on its way when
    /// this returns. They are durable here when the future says `Ok`; otherwise none is, or the thread
    /// has ended and a restart shows.
    pub(crate) fn capture(
        &self,
        transactions: Vec<CapturedTransaction>,
    ) -> impl Future<Output = Result<(), CaptureError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        // Where the thread has ended, so has the reply.
        self.send(Input::Capture {
            transactions,
            reply,
        });
        let ended = || CaptureError::Ended("the dataset has ended".to_owned());
        async move { answer.await.unwrap_or_else(|_| Err(ended())) }
    }

    /// What was captured last, and what its engine had seen by then.
    pub(crate) async fn captured(&self) -> Option<(CapturedAt, Vector)> {
        self.request(|reply| Input::Captured { reply }).await?
    }

    /// One state of the tables with all that it has applied; `None` while they don't follow the log.
    pub(crate) async fn view(&self) -> Option<ExactView> {
        self.request(|reply| Input::View { reply }).await?
    }

    /// The same without waiting for the thread, which may be busy with a round; `None` also where the
    /// tables move on at this moment.
    pub(crate) fn view_at_once(&self) -> Option<ExactView> {
        // First: a snapshot that stands elsewhere in the log is of a round that isn't told yet.
        let shown = self.shown.borrow().clone()?;
        let snapshot = self.tables.snapshot();
        let is_of_these = snapshot.position().ok() == Some(shown.position);
        is_of_these.then(|| (snapshot, Vector::clone(&shown.applied)))
    }

    /// Where a damaged row has stopped the tables, with their state there, if one has.
    pub(crate) async fn standstill(&self) -> Option<StoppedView> {
        self.repairs.waiting_for()?;
        self.request(|reply| Input::Standstill { reply }).await?
    }

    /// Up to where the tables follow the log; `None` while they don't.
    pub(crate) fn shown_to(&self) -> Option<Position> {
        self.shown.borrow().as_ref().map(|shown| shown.position)
    }

    /// The state of the row that stops the tables, and all that the log holds.
    pub(crate) async fn blocked_copy(&self, row: &RowName) -> Option<(u64, Vector)> {
        let row = row.clone();
        self.request(|reply| Input::Blocked { row, reply }).await?
    }

    /// Takes rows over; `None` where the dataset has ended.
    pub(crate) async fn mend(&self, mendings: Vec<Mending>) -> Option<Vec<Mended>> {
        self.request(|reply| Input::Mend { mendings, reply }).await
    }

    /// Takes over the row that stops the tables; whether it was that.
    pub(crate) async fn unblock(&self, mending: Mending) -> bool {
        let unblocked = self.request(|reply| Input::Unblock { mending, reply });
        unblocked.await.unwrap_or(false)
    }

    pub(crate) fn questions(&self) -> &Questions {
        &self.questions
    }

    pub(crate) fn send(&self, input: Input) {
        // A thread that has ended needs to know nothing more.
        let _ = self.inbox.send(input);
    }

    pub(crate) fn origin(&self) -> OriginId {
        self.origin
    }

    pub(crate) fn log(&self) -> Reader<LogDisk> {
        self.log.clone()
    }

    pub(crate) fn committed(&self) -> watch::Receiver<Arc<Vector>> {
        self.applied.clone()
    }

    /// The incarnation under which a region is known here.
    pub(crate) fn member(&self, region: &RegionName) -> Option<OriginId> {
        let status = self
            .status
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        status.members.get(region).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dataset::{DatasetConfig, MachineClock, RepairConfig, open};
    use crate::faults::DiskLevers;
    use meridian_engine_kv::{Limits, Strategies};
    use meridian_replicate::{Arrival, Config};

    /// A dataset of one region.
    pub(crate) fn config(directory: &std::path::Path) -> DatasetConfig {
        let region = RegionName::new("a");
        DatasetConfig {
            name: "main".to_owned(),
            directory: directory.to_owned(),
            replica: Config {
                regions: vec![region.clone()],
                region,
                arrival: Arrival::Founding,
                witnesses: Default::default(),
                evict_after: None,
                log_bytes_max: 1 << 30,
                log_bytes_limit: 1 << 30,
                drift_max: Duration::from_millis(500),
                report_interval: Duration::from_secs(1),
                settle: Duration::ZERO,
                log_retention: Duration::ZERO,
                wire_version: meridian_model::WIRE_VERSION_MAX,
            },
            promises: Promises::default(),
            nearest: Vec::new(),
            limits: Limits::default(),
            strategies: Strategies::default(),
            stop_at_dead_letters: false,
            disk: DiskLevers::default(),
            postgres: None,
            repair: RepairConfig::default(),
        }
    }

    #[test]
    fn a_directory_of_another_engine_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("tables")).unwrap();
        std::fs::write(directory.path().join("postgres"), "").unwrap();
        let opened = open(config(directory.path()), MachineClock::start());
        let error = opened.err().expect("it is refused").to_string();
        assert!(
            error.contains("holds the rows of PostgreSQL servers"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn who_waits_for_what_was_lost_with_a_region_hears_of_its_cut_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let opened = open(config(directory.path()), MachineClock::start());
        let (mut handle, _running) = opened.unwrap();
        let (publish, membership) = watch::channel(handle.membership());
        handle.membership = membership;
        let lost = OriginId(9);
        let seen: Vector = [(lost, Hlc::from_raw(7))].into_iter().collect();
        let waiting = {
            let handle = handle.clone();
            tokio::spawn(async move { handle.wait_for(&seen, Duration::from_secs(600)).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // Nothing is written here meanwhile.
        let mut evicted = Membership::clone(&handle.membership());
        evicted.cuts.insert(lost, Hlc::ZERO);
        publish.send_replace(Arc::new(evicted));
        let reached = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(reached.expect("it is told").unwrap());
    }

    /// A handle to a dataset of this region and `e`, as of an epoch that all have adopted.
    fn of_two(
        directory: &std::path::Path,
    ) -> (DatasetHandle, Membership, watch::Sender<Arc<Membership>>) {
        let opened = open(config(directory), MachineClock::start());
        let (mut handle, _running) = opened.unwrap();
        let mut membership = Membership::clone(&handle.membership());
        let (own, e) = (handle.region.clone(), RegionName::new("e"));
        let mut member = membership.epoch.members[&own].clone();
        member.origin = Some(OriginId(9));
        membership.epoch.members.insert(e.clone(), member);
        membership.epoch.number = 3;
        membership.adopted = [(own, 3), (e, 3)].into();
        let (publish, changes) = watch::channel(Arc::new(membership.clone()));
        handle.membership = changes;
        (handle, membership, publish)
    }

    #[tokio::test]
    async fn who_may_go_by_an_earlier_epoch_is_told_what_is_held_only_once_it_goes_by_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let (handle, membership, publish) = of_two(directory.path());
        let e = RegionName::new("e");
        assert!(handle.held_for(&e).await.is_ok());
        assert!(handle.held_for(&RegionName::new("x")).await.is_err());
        let mut earlier = membership.clone();
        earlier.adopted.insert(e.clone(), 2);
        let mut undecided = membership.clone();
        undecided.awaits_outcome = true;
        for unsure in [earlier, undecided] {
            publish.send_replace(Arc::new(unsure));
            let mut asked = Box::pin(handle.held_for(&e));
            let answer = at_once(&mut asked).await;
            assert_eq!(answer, None, "they may not agree");
            publish.send_replace(Arc::new(membership.clone()));
            assert!(asked.await.is_ok());
        }
    }

    /// What a future gives at once.
    async fn at_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        tokio::select! {
            biased;
            answer = future => Some(answer),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn a_strong_read_goes_by_one_epoch_and_waits_until_all_do() {
        let directory = tempfile::tempdir().unwrap();
        let (handle, mut membership, publish) = of_two(directory.path());
        let begun = handle.strong_read(Duration::from_secs(20)).await;
        let (epoch, read) = begun.unwrap();
        assert_eq!((epoch, read.asked()), (3, vec![RegionName::new("e")]));
        assert!(handle.goes_by(3));
        membership.awaits_outcome = true;
        publish.send_replace(Arc::new(membership.clone()));
        assert!(handle.strong_read(Duration::ZERO).await.is_none());
        membership.awaits_outcome = false;
        membership.adopted.clear();
        publish.send_replace(Arc::new(membership.clone()));
        assert!(handle.strong_read(Duration::ZERO).await.is_none());
        membership.epoch.number = 4;
        publish.send_replace(Arc::new(membership));
        handle.goes_by_another(3).await;
        assert!(!handle.goes_by(3));
    }
}
