//! Changes to what is wanted: staged here, checked and applied, undone.
//!
//! A stage waits in the memory of the region that it was made in, as a person's intention: nothing
//! replicates until it is applied, and a restart forgets it.

use super::{KeepError, Steering};
use meridian_model::{ClockError, Micros, Version};
use meridian_steer::{Difference, Refused, Route, Stage, Subject, Want, Wish};
use std::collections::BTreeMap;

/// Stages that wait; beyond these the oldest is forgotten.
const STAGES_MAX: usize = 64;

/// A change that is not in effect.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) id: String,
    pub(crate) stage: Stage,
    pub(crate) at: Micros,
    pub(crate) who: String,
    pub(crate) why: String,
}

/// Those that wait, by id.
#[derive(Debug, Default)]
pub(super) struct Stages(BTreeMap<String, Staged>);

impl Stages {
    fn add(&mut self, staged: Staged) {
        while self.0.len() >= STAGES_MAX {
            let oldest = self.0.values().min_by_key(|staged| staged.at);
            let Some(id) = oldest.map(|staged| staged.id.clone()) else {
                break;
            };
            self.0.remove(&id);
        }
        self.0.insert(staged.id.clone(), staged);
    }
}

/// A change that is in effect.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) version: Version,
    pub(crate) wishes: Vec<Wish>,
}

/// Why a change is not in effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Clock(#[from] ClockError),
}

impl Steering {
    /// Stages changes.
    pub(crate) fn stage(&self, wants: &[(Subject, Want)], who: &str, why: &str) -> Staged {
        let mut stage = Stage::default();
        let ledger = self.ledger();
        for (subject, want) in wants {
            stage.want(ledger.desired(), subject.clone(), *want);
        }
        let staged = Staged {
            id: format!("{:08x}", fastrand::u32(..)),
            stage,
            at: self.0.clock.now().wall,
            who: who.to_owned(),
            why: why.to_owned(),
        };
        self.stages().add(staged.clone());
        staged
    }

    /// The stages that wait, the oldest first.
    pub(crate) fn staged(&self) -> Vec<Staged> {
        let mut staged: Vec<_> = self.stages().0.values().cloned().collect();
        staged.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
        staged
    }

    /// The stage of this id.
    pub(crate) fn stage_of(&self, id: &str) -> Option<Staged> {
        self.stages().0.get(id).cloned()
    }

    /// Forgets a stage. Whether it was there.
    pub(crate) fn discard(&self, id: &str) -> bool {
        self.stages().0.remove(id).is_some()
    }

    /// What a stage would make different, and why it can't be applied as things stand.
    pub(crate) fn preview(&self, stage: &Stage) -> (Vec<Difference>, Option<Refused>) {
        let published = self.now();
        let ledger = self.ledger();
        let desired = ledger.desired();
        let routes = self.routes();
        let checked = stage.check(desired, &published.picture, &routes, self.0.limits, false);
        (stage.diff(desired), checked.err())
    }

    /// Puts a stage into effect: it is durable here, and the answers go by it, when this returns
    /// `Ok`. Blocks for as long as a sync takes.
    pub(crate) fn apply(
        &self,
        stage: &Stage,
        who: &str,
        why: &str,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        let routes = self.routes();
        let (version, wishes) = self.0.kept.change(|ledger| {
            let (desired, picture) = (ledger.desired(), &self.now().picture);
            let checked = stage.check(desired, picture, &routes, self.0.limits, force)?;
            let now = self.0.clock.now().wall;
            let version = ledger.next_version(now, self.0.origin)?;
            let wishes = checked.apply(version, now, who, why);
            ledger.merge(wishes.clone());
            Ok::<_, ApplyError>((version, wishes))
        })?;
        tracing::info!(%version, who, why, "what is wanted of the regions has changed");
        self.0.news.send_modify(|count| *count += 1);
        self.refresh();
        Ok(Applied { version, wishes })
    }

    fn routes(&self) -> Vec<Route> {
        let published = self.now();
        let routes = published.routes.iter();
        routes.map(|steered| steered.route.clone()).collect()
    }

    /// What takes back what still stands of a change; `None` where no such change is remembered.
    pub(crate) fn undoing(&self, change: Version) -> Option<Stage> {
        let ledger = self.ledger();
        let changes = ledger.changes();
        changes.iter().find(|known| known.version == change)?;
        Some(Stage::undoing(ledger.desired(), change))
    }
}
