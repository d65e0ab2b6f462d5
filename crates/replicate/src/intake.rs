//! Intake: what peers send, and what may enter the log.

use crate::receiver::Taken;
use crate::sender::fork_between;
use crate::{Applying, Engine, Now, Replica};
use meridian_log::{Disk, LogError};
use meridian_model::mutation::{self, Mutation};
use meridian_model::{
    Body, Decision, Entry, Hlc, Marks, Message, Micros, OriginId, Refusal, RegionName, Report,
    ReportedMark, Vector,
};

/// The year 2100: an entry beyond it would push every region's clock to the end of its range.
const HLC_MAX: Hlc = Hlc::at(Micros(4_102_444_800_000_000));

/// Why an entry may not enter the log.
enum Inadmissible {
    Early(&'static str),
    Wrong(String),
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// A connection to a peer stands, and both ends speak `wire_version`.
    pub fn connected(&mut self, now: Now, peer: &RegionName, wire_version: u16) {
        self.wire_versions.insert(peer.clone(), wire_version);
        self.deliberation.connections.insert(peer.clone());
        let message = match self.receivers.get_mut(peer) {
            Some(receiver) => {
                receiver.subscribe(now, &self.config.region, self.origin, self.log.marks())
            }
            None => return,
        };
        self.outgoing.push((peer.clone(), message));
    }

    /// A connection to a peer could not be made, or ended.
    pub fn disconnected(&mut self, now: Now, peer: &RegionName, reason: String) {
        self.deliberation.connections.remove(peer);
        if let Some(receiver) = self.receivers.get_mut(peer) {
            receiver.disconnected(now, reason);
        }
    }

    /// Takes what a peer sent on the stream that this region subscribed to.
    ///
    /// # Errors
    /// [`LogError`] when the log can't be read.
    pub fn message(
        &mut self,
        now: Now,
        peer: &RegionName,
        message: Message,
    ) -> Result<(), LogError> {
        let Some(receiver) = self.receivers.get_mut(peer) else {
            return Ok(());
        };
        match message {
            Message::Accept {
                session,
                origin,
                marks,
            } => {
                if let Some(reason) = self.objection(peer, origin, &marks)? {
                    self.quarantine(now, peer, &reason);
                } else if let Some(receiver) = self.receivers.get_mut(peer) {
                    receiver.accepted(now, session, self.log.marks().missing_from(&marks));
                    self.trust_plain_watermark(origin, &marks);
                }
            }
            Message::Refuse { reason, .. } => self.quarantine(now, peer, &reason),
            Message::Entries {
                session,
                index,
                sent_at,
                remaining,
                entries,
            } => {
                receiver.clock_ahead = sent_at.since(now.wall);
                // A peer that was never heard of has to say who it is, or nothing that it holds counts.
                let is_known = self.road.member(peer).is_some();
                if is_known && self.log.bytes() > self.config.log_bytes_limit {
                    receiver.rolled_back(now, "the log is at its limit of disk space");
                    return Ok(());
                }
                match receiver.take(now, session, index, remaining, entries) {
                    Taken::Nothing => {}
                    Taken::Gap => receiver.lost_step(now, "a message was lost"),
                    Taken::Entries(entries) => self.receive(now, peer, entries),
                }
            }
            Message::Subscribe { .. }
            | Message::Ack { .. }
            | Message::Ask { .. }
            | Message::Answer { .. }
            // These are of no dataset.
            | Message::Reports(_)
            | Message::Ping { .. }
            | Message::Pong { .. } => {}
        }
        Ok(())
    }

    fn objection(
        &self,
        peer: &RegionName,
        offered: OriginId,
        theirs: &Marks,
    ) -> Result<Option<Refusal>, LogError> {
        if let Some(known) = self.road.member(peer).filter(|known| *known != offered) {
            return Ok(Some(Refusal::UnknownIncarnation {
                region: peer.clone(),
                known,
                offered,
            }));
        }
        let held = theirs.get(self.origin).sequence;
        let own = self.log.marks().get(self.origin).sequence;
        if held > own && !mutation::active(Mutation::SequenceUsedAgain) {
            let region = self.config.region.clone();
            return Ok(Some(Refusal::LostTail {
                region,
                held: held.0,
                own: own.0,
            }));
        }
        fork_between(&self.log.reader(), theirs)
    }

    fn quarantine(&mut self, now: Now, peer: &RegionName, reason: &Refusal) {
        let own = &self.config.region;
        let is_about_this_region = match reason {
            Refusal::LostTail { region, .. } => region == own,
            Refusal::Fork { origin, .. } => *origin == self.origin,
            Refusal::UnknownIncarnation {
                region, offered, ..
            } => {
                // Who joined may meet a region that has yet to hear of it, and still counts its
                // predecessor; were it replaced itself, it would be told that it was evicted.
                let is_founder = self.road.founder(own) == Some(self.origin);
                region == own && *offered == self.origin && is_founder
            }
            _ => false,
        };
        if is_about_this_region {
            self.disown(reason);
        }
        self.notice_that_it_should_join(reason);
        let shown = self.told_to_go(reason);
        if let Some(receiver) = self.receivers.get_mut(peer) {
            let is_trimmed = matches!(reason, Refusal::Trimmed { .. });
            receiver.refused(now, shown, is_trimmed);
        }
    }

    fn receive(&mut self, now: Now, peer: &RegionName, entries: Vec<Entry>) {
        for entry in entries {
            let mark = self.staged_marks.get(entry.origin);
            if entry.sequence <= mark.sequence {
                if mutation::active(Mutation::AppliedTwice) {
                    self.apply_again(&entry, now);
                }
                continue;
            }
            if let Err(problem) = self.admit(now, peer, entry) {
                let Some(receiver) = self.receivers.get_mut(peer) else {
                    return;
                };
                match problem {
                    Inadmissible::Early(what) => receiver.lost_step(now, what),
                    Inadmissible::Wrong(reason) => receiver.quarantine(now, reason),
                }
                return;
            }
        }
    }

    fn admit(&mut self, now: Now, peer: &RegionName, entry: Entry) -> Result<(), Inadmissible> {
        let mark = self.staged_marks.get(entry.origin);
        if entry.sequence != mark.sequence.next() {
            return Err(Inadmissible::Early(
                "an entry came before one that precedes it",
            ));
        }
        if !entry.follows(mark) {
            let (origin, sequence) = (entry.origin, entry.sequence.0);
            return Err(Inadmissible::Wrong(
                Refusal::Fork { origin, sequence }.to_string(),
            ));
        }
        if entry.hlc > HLC_MAX {
            let time = entry.hlc.time().0;
            return Err(Inadmissible::Wrong(format!(
                "entry {} is from {time} microseconds after 1970, which no sane clock shows",
                entry.sequence
            )));
        }
        let body = Body::decode(&entry.body)
            .map_err(|error| Inadmissible::Wrong(format!("entry {}: {error}", entry.sequence)))?;
        let cut = self.road.closed.get(&entry.origin);
        if cut.is_some_and(|cut| entry.hlc > *cut) {
            return Err(Inadmissible::Wrong(format!(
                "entry {} of origin {} is beyond the cut of an incarnation that has gone",
                entry.sequence, entry.origin
            )));
        }
        self.admissible(peer, &entry, &body)?;
        self.clock.observe(entry.hlc);
        self.stage(now, entry, &body);
        Ok(())
    }

    fn admissible(
        &self,
        peer: &RegionName,
        entry: &Entry,
        body: &Body,
    ) -> Result<(), Inadmissible> {
        match body {
            Body::Open { region } => {
                let known = self.road.founder(region);
                if let Some(known) = known.filter(|known| *known != entry.origin) {
                    let (region, offered) = (region.clone(), entry.origin);
                    let refusal = Refusal::UnknownIncarnation {
                        region,
                        known,
                        offered,
                    };
                    return Err(Inadmissible::Wrong(refusal.to_string()));
                }
                let is_founded = self.road.epoch.number == 0;
                let counts = self.road.epoch.members.contains_key(region);
                if !self.config.regions.contains(region) || (is_founded && !counts) {
                    return Err(Inadmissible::Wrong(format!(
                        "region {region} founded itself instead of joining: it is not among the \
                         founding regions of this dataset"
                    )));
                }
                Ok(())
            }
            Body::Transaction(transaction) | Body::Decision(Decision { transaction, .. }) => {
                self.depends_on(&transaction.dependencies)
            }
            Body::Captured(captured) => {
                self.depends_on(&captured.transaction.dependencies)?;
                // An increment that came after it would count beside it.
                self.depends_on(&captured.absorbed)
            }
            Body::Report(_) => Ok(()),
            Body::Join { region, epoch } => {
                // What a member took from it before, it may hand on; from the region itself only
                // the incarnation that is expected now is taken.
                if region == peer && !self.road.expects(region, entry.origin, *epoch) {
                    return Err(Inadmissible::Wrong(format!(
                        "region {region} joins, but no epoch expects this incarnation of it"
                    )));
                }
                Ok(())
            }
            Body::Vote(vote) => {
                if vote.is_the_proposers() && vote.ballot().origin != entry.origin {
                    let what = format!("entry {}: a ballot of somebody else", entry.sequence);
                    return Err(Inadmissible::Wrong(what));
                }
                Ok(())
            }
            Body::Adopt(adopt) => {
                let number = adopt.epoch.number;
                let known = self.road.decided.get(&number);
                if known.is_some_and(|known| *known != adopt.epoch) {
                    return Err(Inadmissible::Wrong(format!(
                        "epoch {number} was decided differently there: both sides were set apart \
                         by hand"
                    )));
                }
                self.depends_on(&adopt.dependencies)
            }
        }
    }

    fn depends_on(&self, needed: &Vector) -> Result<(), Inadmissible> {
        let mut needed = needed.iter();
        if needed.all(|(origin, hlc)| self.staged_marks.get(origin).hlc >= hlc)
            || mutation::active(Mutation::NoDependencyCheck)
        {
            Ok(())
        } else {
            Err(Inadmissible::Early(
                "an entry came before one that it depends on",
            ))
        }
    }

    /// The deliberate bug of applying what was applied already.
    fn apply_again(&mut self, entry: &Entry, now: Now) {
        if let Ok(Body::Transaction(transaction)) = Body::decode(&entry.body) {
            self.apply(&Applying {
                position: self.log.end(),
                version: entry.version(),
                transaction: &transaction,
                captured: None,
                now: now.wall,
            });
            self.tables_dirty = true;
        }
    }

    /// The deliberate bug of collecting by what a peer says outside its stream.
    fn trust_plain_watermark(&mut self, reporter: OriginId, marks: &Marks) {
        if !mutation::active(Mutation::CollectedByPlainWatermark) {
            return;
        }
        let positions = marks
            .iter()
            .map(|(origin, mark)| {
                (
                    origin,
                    ReportedMark {
                        held: mark.sequence,
                        applied: mark.hlc,
                    },
                )
            })
            .collect();
        self.road.report(reporter, Report { positions });
    }
}
