//! The thread that owns a dataset's replica.

use super::alarms::Alarms;
use super::capturing::StagedCapture;

use super::handle::{
    DatasetHandle, DatasetStatus, ExecuteError, Input, Membership, PeerReport, Shown, Written,
    was_removed,
};
use super::postman::Postman;
use super::repair::Repairs;
use super::replies::{Pending, Proposed, Reply, Staged};
use super::room::Room;
use super::{Delays, LogDisk, MachineClock, Questions, describe};
use crate::postgres::SharedStatus;
use bytes::Bytes;
use meridian_engine_kv::{FjallStore, Rejection, Request, Tables, Verdict};
use meridian_model::{COLLISIONS_SINCE, Envelope, OriginId, RegionName, Vector, Version};
use meridian_replicate::compare::Mended;
use meridian_replicate::{
    Acknowledgements, CommitError, Now, OwnStanding, ProposeError, Replica, WriteError,
};
use meridian_topology::Promises;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

const TICK: Duration = Duration::from_millis(100);
/// A round ends at this many inputs, so that nobody waits for a round without end.
const ROUND_INPUTS_MAX: usize = 1024;
/// … or when it has staged this much: a part of a peer's window, so that the peer sends while this
/// region syncs.
const ROUND_BYTES_MAX: u64 = 2 << 20;

/// What a dataset's handles tell beside what its thread does.
pub(super) struct Surroundings {
    pub(super) promises: Promises,
    pub(super) is_captured: bool,
    pub(super) nearest: Vec<RegionName>,
    pub(super) repairs: Repairs,
}

type EmbeddedReplica = Replica<LogDisk, Tables<FjallStore>>;

/// A dataset's running thread.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<()>,
}

impl Running {
    /// Waits until the thread has ended; it does after [`Input::Shutdown`].
    pub fn join(self) {
        // A panic of the thread has been reported by the panic hook.
        let _ = self.thread.join();
    }
}

pub(super) fn start(
    name: String,
    room: Room,
    surroundings: Surroundings,
    replica: EmbeddedReplica,
    clock: MachineClock,
    questions: Questions,
) -> std::io::Result<(DatasetHandle, Running)> {
    let Surroundings {
        promises,
        is_captured,
        nearest,
        repairs,
    } = surroundings;
    let (inbox, inputs) = mpsc::channel();
    let (publish, applied) = watch::channel(Arc::new(replica.applied()));
    let (publish_shown, shown) = watch::channel(None);
    let (publish_membership, membership) =
        watch::channel(Arc::new(membership_of(&replica, clock.now())));
    let mut worker = Worker {
        name: name.clone(),
        clock: clock.clone(),
        publish,
        publish_shown,
        publish_membership,
        outboxes: BTreeMap::new(),
        waiting: VecDeque::new(),
        replies: Vec::new(),
        proposed: Vec::new(),
        mended: Vec::new(),
        captures: Vec::new(),
        repairs: repairs.clone(),
        postman: Postman::start(),
        acknowledgements: Acknowledgements::new(
            promises.acknowledgement,
            promises.acknowledgement_timeout,
        ),
        delays: BTreeMap::new(),
        counts: Counts::default(),
        alarms: Alarms::default(),
        room,
        ticked_at: Duration::ZERO,
        status: None,
        replica,
    };
    let status = Arc::new(Mutex::new(worker.describe(clock.now())));
    worker.status = Some(status.clone());
    worker.publish_shown();
    let epitaph = Epitaph(status.clone());
    let handle = DatasetHandle {
        name: name.as_str().into(),
        origin: worker.replica.origin(),
        inbox,
        tables: worker.replica.engine().reader(),
        log: worker.replica.reader(),
        applied,
        status,
        shown: Arc::new(shown),
        questions,
        membership,
        promises: Arc::new(promises),
        is_captured,
        postgres: SharedStatus::default(),
        region: worker.replica.region().clone(),
        nearest: nearest.into(),
        witnesses: Arc::new(worker.replica.witnesses().clone()),
        repairs,
    };
    let thread = std::thread::Builder::new()
        .name(format!("dataset-{name}"))
        .spawn(move || {
            let _epitaph = epitaph;
            worker.run(&inputs);
        })?;
    Ok((handle, Running { thread }))
}

#[derive(Default)]
struct Counts {
    local: u64,
    remote: u64,
    commits: u64,
}

/// Tells whoever asks, if the thread ends by a defect, that the dataset doesn't run any more.
struct Epitaph(Arc<Mutex<DatasetStatus>>);

impl Drop for Epitaph {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "its thread ended by a defect in meridian; the region's log shows it";
            let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            status.stopped = Some(reason.to_owned());
        }
    }
}

/// What a client asks for.
enum Job {
    /// A transaction.
    Execute(Request),
    /// A decision about a dead letter.
    Decide(Version, Verdict),
}

pub(super) struct Worker {
    name: String,
    pub(super) replica: EmbeddedReplica,
    pub(super) clock: MachineClock,
    pub(super) publish: watch::Sender<Arc<Vector>>,
    /// Told before `publish`, and before anybody hears what became of a round.
    pub(super) publish_shown: watch::Sender<Option<Shown>>,
    publish_membership: watch::Sender<Arc<Membership>>,
    status: Option<Arc<Mutex<DatasetStatus>>>,
    outboxes: BTreeMap<RegionName, async_mpsc::UnboundedSender<Bytes>>,
    /// Client transactions that came before the dataset had settled.
    waiting: VecDeque<(Job, Reply)>,
    /// Replies that are due once the round is committed.
    replies: Vec<Staged>,
    /// Who asked for changes of who counts, due likewise: what a person decides stands in the log.
    proposed: Vec<Proposed>,
    /// What became of rows that were to be mended, due likewise.
    pub(super) mended: Vec<(Vec<Mended>, oneshot::Sender<Vec<Mended>>)>,
    /// Who waits for what was captured from an engine, due likewise.
    pub(super) captures: Vec<StagedCapture>,
    pub(super) repairs: Repairs,
    postman: Postman,
    /// Replies that wait for other regions.
    acknowledgements: Acknowledgements<Pending>,
    delays: BTreeMap<OriginId, Delays>,
    counts: Counts,
    alarms: Alarms,
    pub(super) room: Room,
    ticked_at: Duration,
}

impl Worker {
    fn run(&mut self, inputs: &Receiver<Input>) {
        loop {
            // Catching up takes turns with what comes in, and waits for nothing else.
            let pause = if self.replica.is_catching_up() {
                Duration::ZERO
            } else {
                TICK
            };
            let running = match inputs.recv_timeout(pause) {
                Ok(first) => self.round(first, inputs),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            let now = self.clock.now();
            self.tick(now);
            self.commit(now);
            self.go_on(now);
            self.acknowledge(now);
            if !running {
                self.end(now);
                return;
            }
        }
    }

    /// Stages all that waits; `false` when it is time to end.
    fn round(&mut self, first: Input, inputs: &Receiver<Input>) -> bool {
        let rest = std::iter::from_fn(|| inputs.try_recv().ok());
        for input in std::iter::once(first).chain(rest).take(ROUND_INPUTS_MAX) {
            let now = self.clock.now();
            match input {
                Input::Execute { request, reply } => {
                    self.execute(now, Job::Execute(request), reply);
                }
                Input::Decide {
                    letter,
                    verdict,
                    reply,
                } => self.execute(now, Job::Decide(letter, verdict), reply),
                Input::Connected {
                    peer,
                    wire_version,
                    outbox,
                } => {
                    self.replica.connected(now, &peer, wire_version);
                    self.outboxes.insert(peer, outbox);
                }
                Input::Disconnected { peer, reason } => {
                    self.outboxes.remove(&peer);
                    self.replica.disconnected(now, &peer, reason);
                }
                Input::Message { peer, message } => {
                    if let Err(error) = self.replica.message(now, &peer, message) {
                        tracing::error!(dataset = self.name, %peer, %error, "cannot read the log");
                    }
                }
                Input::Disown { reason } => self.replica.disown(&reason),
                Input::Holds { member, held } => self.replica.holds(member, &held),
                Input::Barrier { reply } => {
                    let marks = self.replica.marks().clone();
                    let pending = Pending::Barrier(reply);
                    self.acknowledgements.wait_for_all(now, marks, pending);
                }
                Input::Propose { proposal, reply } => {
                    let outcome = self.replica.propose(now, proposal);
                    self.proposed.push(Proposed { outcome, reply });
                }
                Input::Refusal {
                    region,
                    origin,
                    reply,
                } => {
                    // The link may have ended.
                    let _ = reply.send(self.replica.refusal(&region, origin));
                }
                Input::Sponsors { peers } => self.replica.set_peers(now, &peers),
                Input::Mend { mendings, reply } => self.mend(&mendings, reply),
                Input::Unblock { mending, reply } => {
                    // Whoever asked may be gone; the tables go on all the same.
                    let _ = reply.send(self.unblock(&mending));
                }
                Input::View { reply } => {
                    let _ = reply.send(self.view());
                }
                Input::Standstill { reply } => {
                    let _ = reply.send(self.standstill());
                }
                Input::Blocked { row, reply } => {
                    let _ = reply.send(self.blocked_copy(&row));
                }
                Input::Capture {
                    transactions,
                    reply,
                } => self.capture(now, transactions, reply),
                Input::Captured { reply } => {
                    let _ = reply.send(self.replica.captured().cloned());
                }
                Input::KeepFrom { position } => self.replica.keep_from(position),
                Input::Note { conflicts } => self.note(now, conflicts),
                Input::Shutdown => return false,
                Input::Snapshot {
                    id,
                    is_beginning,
                    reply,
                } => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.replica.snapshot(now, id, is_beginning));
                }
            }
            if self.replica.staged_bytes() > ROUND_BYTES_MAX {
                break;
            }
        }
        true
    }

    fn execute(&mut self, now: Now, job: Job, reply: Reply) {
        if reply.is_closed() {
            // Whoever asked has given up; the write never was.
            return;
        }
        if self.replica.is_settled(now) {
            self.write(now, &job, reply);
        } else {
            self.waiting.push_back((job, reply));
        }
    }

    fn write(&mut self, now: Now, job: &Job, reply: Reply) {
        if let Some(reason) = self.room.lack() {
            let _ = reply.send(Err(ExecuteError::DiskFull { reason }));
            return;
        }
        let before = self.replica.staged().len();
        let written = match job {
            Job::Execute(request) => self
                .replica
                .write(now, |tables, version| tables.execute(version, request)),
            Job::Decide(letter, verdict) => self.replica.decide(now, *letter, |tables, version| {
                tables.decide(version, *letter, verdict)
            }),
        };
        if let Err(WriteError::Rejected(Rejection::Tables(error))) = &written
            && let Some(row) = error.damaged_row()
        {
            self.repairs.mend_soon(row);
        }
        let sequence = self.replica.staged().get(before).map(|it| it.sequence);
        // A refusal waits for the round too: it may tell of what the round has yet to make durable.
        self.replies.push(Staged {
            outcome: written.map_err(|error| self.refused(error)),
            sequence,
            reply,
        });
    }

    /// Lets replies out that have waited for other regions, or too long.
    fn acknowledge(&mut self, now: Now) {
        for (pending, outcome) in self.acknowledgements.due(now, self.replica.holdings()) {
            pending.settle(outcome);
        }
    }

    /// Nobody will be waited for any more: what is written stands, and its clients are told.
    fn end(&mut self, now: Now) {
        self.acknowledgements.end_waiting();
        self.acknowledge(now);
    }

    fn refused(&self, error: WriteError<meridian_engine_kv::Rejection>) -> ExecuteError {
        match (self.replica.standing(), error) {
            (OwnStanding::Evicted { reason, .. }, WriteError::Stopped { .. }) => {
                let own = self.replica.region();
                ExecuteError::Evicted {
                    reason,
                    was_removed: was_removed(self.replica.epoch(), own),
                }
            }
            (_, error) => refused(error),
        }
    }

    fn tick(&mut self, now: Now) {
        if now.elapsed.saturating_sub(self.ticked_at) < TICK {
            return;
        }
        self.ticked_at = now.elapsed;
        self.room.look();
        if !self.waiting.is_empty() && self.replica.is_settled(now) {
            for (job, reply) in std::mem::take(&mut self.waiting) {
                self.write(now, &job, reply);
            }
        }
        if let Err(error) = self.replica.tick(now) {
            tracing::warn!(dataset = self.name, %error, "cannot trim the log");
        }
        if !self.adopts() {
            // What is adopted now is told once the log has it.
            self.tell_membership();
        }
        let status = self.describe(now);
        if let Some(shared) = &self.status {
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = status;
        }
    }

    fn tell_membership(&self) {
        let membership = membership_of(&self.replica, self.clock.now());
        self.publish_membership.send_if_modified(|known| {
            let is_new = **known != membership;
            if is_new {
                *known = Arc::new(membership);
            }
            is_new
        });
    }

    /// Whether this region goes by another epoch than was last published.
    fn adopts(&self) -> bool {
        self.publish_membership.borrow().epoch.number != self.replica.epoch().number
    }

    fn commit(&mut self, now: Now) {
        let staged = self.replica.staged().len();
        self.room.take(self.replica.staged_bytes());
        // Once the log has what this region accepts or adopts, others may go by it before this thread
        // gets to say so: no strong read begins meanwhile, nor by an epoch that the log may refuse.
        if self.replica.awaits_outcome() || self.adopts() {
            self.publish_membership.send_if_modified(|known| {
                let is_new = !known.awaits_outcome;
                if is_new {
                    Arc::make_mut(known).awaits_outcome = true;
                }
                is_new
            });
        }
        let committed = self.replica.flush(now);
        let awaited = self.publish_membership.borrow().awaits_outcome;
        if committed.is_err() || self.adopts() || awaited != self.replica.awaits_outcome() {
            self.tell_membership();
        }
        if staged > 0 || committed.is_err() {
            self.publish_shown();
        }
        if let Err(error) = &committed {
            tracing::error!(dataset = self.name, error = %describe(error), "a commit failed");
        } else if staged > 0 {
            self.counts.commits += 1;
            self.count_visible();
            self.publish_applied();
        }
        self.answer(now, &committed);
        self.answer_proposed(&committed);
        self.answer_mended(committed.is_ok());
        self.answer_captures(&committed);
        for (peer, message) in self.replica.take_outgoing() {
            if let Some(outbox) = self.outboxes.get(&peer) {
                let dataset = self.name.clone();
                // A link that has just ended drops what it is given; the stream resumes with it.
                let _ = outbox.send(Envelope { dataset, message }.encode());
            }
        }
    }

    /// Counts transactions that were committed here.
    pub(super) fn count_local(&mut self, transactions: u64) {
        self.counts.local += transactions;
    }

    fn count_visible(&mut self) {
        for visible in self.replica.take_visible() {
            self.counts.remote += 1;
            self.delays
                .entry(visible.origin)
                .or_default()
                .record(visible.after);
        }
    }

    fn answer(&mut self, now: Now, committed: &Result<(), CommitError>) {
        let mut round = Vec::with_capacity(self.replies.len());
        for staged in std::mem::take(&mut self.replies) {
            let Staged {
                outcome,
                sequence,
                reply,
            } = staged;
            let outcome = match (outcome, committed) {
                (Ok(outcome), Ok(())) => outcome,
                (Ok(_), Err(error)) => {
                    round.push((Err(failed(error)), reply));
                    continue;
                }
                (Err(error), _) => {
                    round.push((Err(error), reply));
                    continue;
                }
            };
            self.count_local(u64::from(outcome.version.is_some()));
            if self.acknowledgements.is_local() {
                let written = Written {
                    outcome,
                    shortfall: None,
                };
                round.push((Ok(written), reply));
                continue;
            }
            let pending = Pending::Write(outcome, reply);
            if let Some(sequence) = sequence {
                self.acknowledgements.wait_for_write(now, sequence, pending);
            } else {
                let marks = self.replica.marks().clone();
                self.acknowledgements.wait_for_all(now, marks, pending);
            }
        }
        self.postman.bring(round);
    }

    fn answer_proposed(&mut self, committed: &Result<(), CommitError>) {
        for Proposed { mut outcome, reply } in std::mem::take(&mut self.proposed) {
            if let (Ok(()), Err(CommitError::Log(error))) = (&outcome, committed) {
                let reason = describe(error);
                outcome = Err(ProposeError::NotLogged { reason });
            }
            // Whoever asked may have given up; what has begun goes on.
            let _ = reply.send(outcome);
        }
    }

    fn describe(&mut self, now: Now) -> DatasetStatus {
        let peers = self.replica.peers(now);
        self.alarms.look(&self.name, self.replica.stopped(), &peers);
        let letters = self.replica.engine().letter_counts();
        self.alarms.look_at_letters(&self.name, letters);
        let peers = peers.into_iter().map(|status| {
            let delays = status.origin.and_then(|origin| self.delays.get(&origin));
            PeerReport {
                delays: delays.map(Delays::summary).unwrap_or_default(),
                status,
            }
        });
        DatasetStatus {
            peers: peers.collect(),
            letters,
            choices_unread_by: self.replica.all_speak(COLLISIONS_SINCE).err(),
            unread_absorption: self
                .replica
                .unread_absorption()
                .map(|error| describe(&error)),
            origin: self.replica.origin(),
            stopped: self.replica.stopped().map(str::to_owned),
            settled: self.replica.is_settled(now),
            position: self.replica.reader().end(),
            log_bytes: self.replica.log_bytes(),
            log_bytes_max: self.replica.log_bytes_max(),
            shortage: self
                .room
                .shortage(self.replica.log_bytes(), self.replica.log_bytes_max()),
            transactions_local: self.counts.local,
            transactions_remote: self.counts.remote,
            commits: self.counts.commits,
            members: self
                .replica
                .road()
                .members()
                .map(|(region, origin)| (region.clone(), origin))
                .collect(),
        }
    }
}

fn membership_of(replica: &EmbeddedReplica, now: Now) -> Membership {
    let members = replica.epoch().members.keys();
    Membership {
        epoch: replica.epoch().clone(),
        standing: replica.standing(),
        adopted: replica.adopted(),
        deciding: replica.proposal(),
        awaits_outcome: replica.awaits_outcome(),
        cuts: replica.cuts(),
        incarnations: replica.incarnations(),
        away: replica.out_of_touch(now),
        needs_new_copy: replica.needs_new_copy(),
        waits_for: members
            .filter_map(|region| Some((region.clone(), replica.waits_for(region)?)))
            .collect(),
    }
}

fn refused(error: WriteError<meridian_engine_kv::Rejection>) -> ExecuteError {
    match error {
        WriteError::Rejected(rejection) => ExecuteError::Rejected(rejection),
        WriteError::Stopped { reason } => ExecuteError::Stopped { reason },
        WriteError::LogBudget { bytes, bytes_max } => ExecuteError::LogBudget { bytes, bytes_max },
        WriteError::NotServing { reason } => ExecuteError::NotServing { reason },
        error @ WriteError::NotSpoken { .. } => ExecuteError::NotServing {
            reason: format!("{error}\n\nhint: upgrade it, or wait until it is heard of"),
        },
        WriteError::Clock(error) => ExecuteError::Stopped {
            reason: error.to_string(),
        },
    }
}

fn failed(error: &CommitError) -> ExecuteError {
    let reason = describe(error);
    match error {
        CommitError::Log(log) if log.is_full() => ExecuteError::DiskFull { reason },
        CommitError::Log(_) => ExecuteError::LogFailed { reason },
        CommitError::Tables { .. } => ExecuteError::NotVisible { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::apart;

    #[test]
    fn what_to_do_about_a_member_of_an_earlier_release_stands_apart() {
        let region = RegionName::new("b");
        let told = refused(WriteError::NotSpoken { region, version: 3 }).to_string();
        let (what, hint) = apart(&told);
        assert!(what.ends_with("which this needs"), "{told}");
        assert!(hint.unwrap().starts_with("upgrade it"), "{told}");
    }
}
