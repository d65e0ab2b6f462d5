//! How this region stands among the members, and whom it lets subscribe.

use crate::{Engine, Now, Replica, Road};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Epoch, Hlc, OriginId, Refusal, RegionName, Sequence, Standing};
use std::collections::BTreeMap;
use std::time::Duration;

/// A region that has yet to begin gives its copy up once it has been told for so long that what comes
/// after it isn't held any more, and has heard of nobody who holds it: another may be back, or be asked
/// in a moment.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// How a dataset's stream begins where the log has none of this region's own yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrival {
    /// This region is one of the founders: it begins at once.
    #[default]
    Founding,
    /// It joins a dataset that others founded: it begins once they expect it, or at once where the
    /// copy that it got says that they founded it with this region.
    Joining,
}

/// What this region may do, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnStanding {
    /// It takes writes and votes.
    Voting,
    /// It is being brought up, and takes no writes before it votes.
    Joining {
        /// Those that have yet to begin counting it. When none is left it gets its vote.
        waiting_for: Vec<RegionName>,
    },
    /// It takes no more writes and goes when everybody has what it holds.
    Leaving,
    /// It doesn't count any more.
    Evicted {
        /// How this came.
        reason: String,
        /// The last of its entries that is known to be held elsewhere; 0 where nobody said.
        held: Sequence,
    },
}

impl Road {
    /// The road as another region begins with it: without what is this region's own, and with the wire
    /// version that it speaks, which its own road doesn't say.
    pub(crate) fn for_newcomer(&self, wire_version: u16) -> Self {
        let mut road = self.clone();
        let own = road.own.take();
        road.spoken.extend(own.map(|own| (own, wire_version)));
        road.captured = None;
        road.begun = false;
        road.counted_from = 0;
        road.expelled = None;
        debug_assert!(road.held.is_empty(), "a snapshot has whole transactions");
        road
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// By member the number of the epoch that it is known to go by.
    #[must_use]
    pub fn adopted(&self) -> BTreeMap<RegionName, u64> {
        let members = self.road.epoch.members.iter();
        let adopted = members.filter_map(|(region, member)| {
            let number = self.road.adopted_by(member.origin?).number;
            Some((region.clone(), number))
        });
        adopted.collect()
    }

    /// Of each incarnation that counts no more, the last clock reading of its stream that anybody
    /// holds, or ever will.
    #[must_use]
    pub fn cuts(&self) -> BTreeMap<OriginId, Hlc> {
        self.road.closed.clone()
    }

    /// Of which region each incarnation is, or was, whose stream's beginning was heard of.
    #[must_use]
    pub fn incarnations(&self) -> BTreeMap<OriginId, RegionName> {
        let streams = self.road.streams.iter();
        let named = streams.map(|(origin, stream)| (*origin, stream.region.clone()));
        named.collect()
    }

    /// The epoch that this region goes by.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.road.epoch
    }

    /// How this region stands.
    #[must_use]
    pub fn standing(&self) -> OwnStanding {
        if let Some(expelled) = &self.road.expelled {
            return OwnStanding::Evicted {
                reason: expelled.reason.clone(),
                held: expelled.held,
            };
        }
        let own = &self.config.region;
        let waiting_for = || OwnStanding::Joining {
            waiting_for: self.road.uncounted_by(own),
        };
        if !self.road.begun {
            let voters = self.road.epoch.voters();
            return OwnStanding::Joining {
                waiting_for: voters
                    .map(|(region, _)| region.clone())
                    .filter(|region| region != own)
                    .collect(),
            };
        }
        match self.road.epoch.members.get(own).map(|it| it.standing) {
            Some(Standing::Joining) => waiting_for(),
            Some(Standing::Leaving) => OwnStanding::Leaving,
            Some(Standing::Voting) | None => OwnStanding::Voting,
        }
    }

    /// Whether what this region lacks has left every log that it hears of, so that it has to begin with
    /// another copy. Its own stream hasn't begun, so nothing is lost with what it has.
    #[must_use]
    pub fn needs_new_copy(&self) -> bool {
        self.deliberation.needs_new_copy
    }

    /// Looks whether it is so. Once it is, this region begins nothing with the copy that it has.
    pub(crate) fn note_trimmed(&mut self, now: Now) {
        let receivers = || self.receivers.values();
        self.deliberation.needs_new_copy |= !self.road.begun
            && receivers().any(|it| it.trimmed_for(now) >= GIVEN_UP_AFTER)
            && receivers().all(|it| it.silent_for(now) >= GIVEN_UP_AFTER)
    }

    /// Why a region in this standing takes no client writes; `None` where it does.
    pub(crate) fn unready(&self) -> Option<String> {
        self.uncounted().or_else(|| {
            let is_joining = matches!(self.standing(), OwnStanding::Joining { .. });
            let waits = is_joining && !mutation::active(Mutation::JoinerWrites);
            waits.then(|| "this region is joining and waits for its vote".to_owned())
        })
    }

    /// Why nothing of this region's own may come to the others yet, or any more. What an engine has
    /// committed comes before the region votes: its clients were told already, and what the engine
    /// has seen is told with it, for which the vote waits.
    pub(crate) fn uncounted(&self) -> Option<String> {
        let is_gated = !mutation::active(Mutation::JoinerWrites);
        if self.is_witness() {
            return Some("this region is a witness and holds no tables".to_owned());
        }
        if !self.road.begun {
            return Some("this region is joining and not expected by the others yet".to_owned());
        }
        match self.standing() {
            OwnStanding::Joining { waiting_for } if !waiting_for.is_empty() && is_gated => {
                let names: Vec<_> = waiting_for.iter().map(RegionName::as_str).collect();
                let names = names.join(", ");
                Some(format!("this region is joining and waits for {names}"))
            }
            OwnStanding::Leaving => Some("this region is leaving".to_owned()),
            _ => None,
        }
    }

    /// Why a subscriber gets nothing from here, if so: it counts no more, or not yet. To be asked
    /// before a [`crate::Sender`] takes its subscription, and again after each change of the epoch.
    ///
    /// Who leaves as planned is not told so, but gets the stream with the adoption of the epoch without
    /// it, until everybody is known to go by that: so it holds what it goes by, and the others have
    /// that from it should whoever adopted it be lost. To keep a refusal back is safe, as it may get
    /// lost; so are entries for who doesn't count: nobody asks what it holds.
    #[must_use]
    pub fn refusal(&self, region: &RegionName, origin: OriginId) -> Option<Refusal> {
        let road = self.durable_road();
        let epoch = road.epoch.number;
        if road.is_parting(origin) {
            return None;
        }
        if road.has_gone(origin) {
            return Some(Refusal::Evicted {
                epoch,
                held: self.log.marks().get(origin).sequence,
            });
        }
        let region = region.clone();
        (!road.epoch.members.contains_key(&region)).then_some(Refusal::NotMember { region, epoch })
    }

    /// The road as far as it is durable: what a refusal is based on must not be undone.
    pub(crate) fn durable_road(&self) -> &Road {
        self.road_before.as_ref().unwrap_or(&self.road)
    }

    /// Where nobody has voted yet, who is no member was never one: the others were founded without it.
    /// What it would serve is not what they hold.
    pub(crate) fn notice_that_it_should_join(&mut self, reason: &Refusal) {
        let is_founder = self.road.founder(&self.config.region) == Some(self.origin);
        let nobody_voted = self.road.epoch.number == 0;
        if let Refusal::NotMember { epoch: 0, .. } = reason
            && is_founder
            && nobody_voted
        {
            self.stopped.get_or_insert_with(|| {
                "the others were founded without this region, so it has to join: start it with an \
                 empty data directory and --join, and add it (`meridian regions add`)"
                    .to_owned()
            });
        }
    }

    /// Takes a member's word that this region is none; gives the reason to show.
    pub(crate) fn told_to_go(&mut self, reason: &Refusal) -> String {
        let (epoch, held) = match reason {
            Refusal::Evicted { epoch, held } => (*epoch, *held),
            Refusal::NotMember { epoch, .. } => (*epoch, Sequence(0)),
            _ => return reason.to_string(),
        };
        if !self.road.begun {
            return reason.to_string();
        }
        let own = self.road.epoch.number;
        if epoch > own {
            // Who goes may have gone as planned or been evicted meanwhile.
            let was = match self.is_leaving() {
                true => "was leaving",
                false => "was evicted",
            };
            self.expel(format!("this region {was}: {reason}"), held);
        } else if epoch == own || matches!(reason, Refusal::Evicted { .. }) {
            return format!(
                "the members were decided differently there, up to epoch {epoch}; here they are at \
                 epoch {own}: both sides were set apart by hand"
            );
        }
        reason.to_string()
    }
}
