//! One peer's subscription, as its sender sees it.
//!
//! The sender walks this region's log in order and sends what the peer doesn't hold, other
//! origins' entries included: that is how a dead region's last transactions reach everybody. It
//! keeps a window of unacknowledged bytes and stops at its edge; memory stays bounded however far
//! behind the peer is, because what is waiting stays in the log.

use crate::Now;
use meridian_log::{Disk, LogError, Reader};
use meridian_model::mutation::{self, Mutation};
use meridian_model::{
    Entry, Marks, Message, OriginId, Position, Refusal, RegionName, Sequence, SessionId,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Several times what a receiver takes into one round, so that the next is on its way, or there, while
/// one becomes durable: a receiver that took the whole window at once would make its sender wait for
/// each sync, and then wait for it.
const WINDOW_BYTES: usize = 8 << 20;
const BATCH_BYTES: usize = 256 << 10;
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Streams one dataset's log to one subscriber.
#[derive(Debug)]
pub struct Sender<D: Disk> {
    region: RegionName,
    origin: OriginId,
    reader: Reader<D>,
    subscription: Option<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    session: SessionId,
    subscriber: OriginId,
    cursor: Position,
    held: BTreeMap<OriginId, Sequence>,
    index: u64,
    unacknowledged: VecDeque<(u64, usize)>,
    unacknowledged_bytes: usize,
    sent_at: Duration,
}

/// What came of a peer's subscription.
#[derive(Debug)]
pub struct Answer {
    /// To be sent back.
    pub message: Message,
    /// Set where the subscriber holds entries of this very region that its own log has lost, or
    /// others in their place: the dataset must stop ([`crate::Replica::disown`]).
    pub disowned: Option<Refusal>,
}

impl<D: Disk> Sender<D> {
    /// A sender of `region`'s log, whose own incarnation is `origin`.
    #[must_use]
    pub fn new(region: RegionName, origin: OriginId, reader: Reader<D>) -> Self {
        Self {
            region,
            origin,
            reader,
            subscription: None,
        }
    }

    /// Takes a subscription. `known` is the incarnation under which this region knows the
    /// subscriber.
    ///
    /// # Errors
    /// [`LogError`] when the log can't be read.
    pub fn subscribe(
        &mut self,
        now: Now,
        known: Option<OriginId>,
        message: Message,
    ) -> Result<Option<Answer>, LogError> {
        let Message::Subscribe {
            session,
            region,
            origin,
            marks,
        } = message
        else {
            return Ok(None);
        };
        if self
            .subscription
            .as_ref()
            .is_some_and(|current| current.session >= session)
        {
            return Ok(None);
        }
        if let Some(reason) = self.refusal(&region, origin, known, &marks)? {
            self.subscription = None;
            let disowned = self.is_about_this_region(&reason).then(|| reason.clone());
            return Ok(Some(Answer {
                message: Message::Refuse { session, reason },
                disowned,
            }));
        }
        let cursor = match self.reader.position_for(&marks) {
            Ok(cursor) => cursor,
            Err(LogError::NoLongerHeld { origin, sequence }) => {
                let reason = Refusal::Trimmed {
                    origin,
                    sequence: sequence.0,
                };
                let message = Message::Refuse { session, reason };
                return Ok(Some(Answer {
                    message,
                    disowned: None,
                }));
            }
            Err(error) => return Err(error),
        };
        self.subscription = Some(Subscription {
            session,
            subscriber: origin,
            cursor,
            held: marks
                .iter()
                .map(|(origin, mark)| (origin, mark.sequence))
                .collect(),
            index: 0,
            unacknowledged: VecDeque::new(),
            unacknowledged_bytes: 0,
            sent_at: now.elapsed,
        });
        let marks = self.reader.marks();
        let message = Message::Accept {
            session,
            origin: self.origin,
            marks,
        };
        Ok(Some(Answer {
            message,
            disowned: None,
        }))
    }

    fn is_about_this_region(&self, reason: &Refusal) -> bool {
        match reason {
            Refusal::LostTail { region, .. } => *region == self.region,
            Refusal::Fork { origin, .. } => *origin == self.origin,
            _ => false,
        }
    }

    fn refusal(
        &self,
        region: &RegionName,
        offered: OriginId,
        known: Option<OriginId>,
        theirs: &Marks,
    ) -> Result<Option<Refusal>, LogError> {
        if let Some(known) = known.filter(|known| *known != offered) {
            return Ok(Some(Refusal::UnknownIncarnation {
                region: region.clone(),
                known,
                offered,
            }));
        }
        let held = theirs.get(self.origin).sequence;
        let own = self.reader.marks().get(self.origin).sequence;
        if held > own && !mutation::active(Mutation::SequenceUsedAgain) {
            let region = self.region.clone();
            return Ok(Some(Refusal::LostTail {
                region,
                held: held.0,
                own: own.0,
            }));
        }
        fork_between(&self.reader, theirs)
    }

    /// Ends the subscription; the subscriber has to ask again.
    pub fn unsubscribe(&mut self) {
        self.subscription = None;
    }

    /// Takes an acknowledgement.
    pub fn acknowledged(&mut self, session: SessionId, next: u64, held: &[(OriginId, Sequence)]) {
        let Some(subscription) = self.subscription.as_mut().filter(|s| s.session == session) else {
            return;
        };
        while subscription
            .unacknowledged
            .front()
            .is_some_and(|(index, _)| *index < next)
        {
            if let Some((_, bytes)) = subscription.unacknowledged.pop_front() {
                subscription.unacknowledged_bytes -= bytes;
            }
        }
        for (origin, sequence) in held {
            let known = subscription.held.entry(*origin).or_default();
            *known = (*known).max(*sequence);
        }
    }

    /// The next message that is due: entries while the window has room, or a heartbeat.
    ///
    /// # Errors
    /// [`LogError`] when the log can't be read.
    pub fn poll(&mut self, now: Now) -> Result<Option<Message>, LogError> {
        let Some(subscription) = self.subscription.as_mut() else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES && subscription.unacknowledged_bytes + bytes < WINDOW_BYTES {
            let batch = self.reader.read(subscription.cursor, BATCH_BYTES - bytes)?;
            if batch.next == subscription.cursor {
                break;
            }
            subscription.cursor = batch.next;
            for entry in batch.entries {
                if subscription.lacks(&entry, self.origin) {
                    bytes += entry.size();
                    entries.push(entry);
                }
            }
        }
        let heartbeat = now.elapsed.saturating_sub(subscription.sent_at) >= HEARTBEAT;
        if entries.is_empty() && !heartbeat {
            return Ok(None);
        }
        let remaining = self.reader.end().0.saturating_sub(subscription.cursor.0);
        Ok(Some(subscription.message(now, remaining, entries, bytes)))
    }

    /// Whether nothing is left to send now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.subscription.as_ref().is_none_or(|subscription| {
            subscription.cursor >= self.reader.end()
                || subscription.unacknowledged_bytes >= WINDOW_BYTES
        })
    }
}

impl Subscription {
    fn lacks(&self, entry: &Entry, own: OriginId) -> bool {
        if mutation::active(Mutation::NoRelaying) && entry.origin != own {
            return false;
        }
        if mutation::active(Mutation::AppliedTwice) {
            return true;
        }
        entry.origin != self.subscriber
            && self
                .held
                .get(&entry.origin)
                .is_none_or(|held| entry.sequence > *held)
    }

    fn message(&mut self, now: Now, remaining: u64, entries: Vec<Entry>, bytes: usize) -> Message {
        let index = self.index;
        self.index += 1;
        self.sent_at = now.elapsed;
        self.unacknowledged.push_back((index, bytes));
        self.unacknowledged_bytes += bytes;
        Message::Entries {
            session: self.session,
            index,
            sent_at: now.wall,
            remaining,
            entries,
        }
    }
}

/// Compares histories wherever this log reaches as far as the other.
///
/// # Errors
/// [`LogError`] when the log can't be read.
pub(crate) fn fork_between<D: Disk>(
    reader: &Reader<D>,
    theirs: &Marks,
) -> Result<Option<Refusal>, LogError> {
    if mutation::active(Mutation::SequenceUsedAgain) {
        return Ok(None);
    }
    let ours = reader.marks();
    for (origin, their) in theirs.iter() {
        if their.sequence.0 == 0 || their.sequence > ours.get(origin).sequence {
            continue;
        }
        let history = reader.history_at(origin, their.sequence)?;
        if history.is_some_and(|history| history != their.history) {
            return Ok(Some(Refusal::Fork {
                origin,
                sequence: their.sequence.0,
            }));
        }
    }
    Ok(None)
}
