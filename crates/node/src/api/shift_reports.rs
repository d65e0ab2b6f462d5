//! Drains and shifts as the API shows them.

use super::problem::{Kind, Problem};
use super::timestamp::rfc_3339;
use crate::steering::{Applied, Staged, Steering};
use meridian_steer::{Change, Difference, Refused, Subject, Wish};
use serde::Serialize;
use utoipa::ToSchema;

/// What is wanted of the regions, was, and may be.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShiftList {
    /// What stands and is not as usual.
    wishes: Vec<WishReport>,
    /// What was changed, the newest first; the last 200 changes, and those that stand.
    changes: Vec<AppliedReport>,
    /// What is staged in this region, the oldest first.
    staged: Vec<StageReport>,
}

/// What is wanted of a region.
#[derive(Serialize, ToSchema)]
pub(crate) struct WishReport {
    region: String,
    /// The route; null for all of them.
    route: Option<String>,
    /// `drained`, or a share such as `25%`.
    want: String,
    /// The routes that don't heed a drain, as nothing healthy would be left.
    ignored_by: Vec<String>,
    /// The version of the change.
    version: String,
    /// When (RFC 3339).
    at: String,
    who: String,
    why: String,
}

/// A line of what a change makes different.
#[derive(Serialize, ToSchema)]
pub(crate) struct DifferenceReport {
    region: String,
    /// The route; null for all of them.
    route: Option<String>,
    from: String,
    to: String,
}

/// A change that is not in effect.
#[derive(Serialize, ToSchema)]
pub(crate) struct StageReport {
    id: String,
    /// When it was staged (RFC 3339).
    at: String,
    who: String,
    why: String,
    /// What it would make different now.
    differences: Vec<DifferenceReport>,
    /// Why it would be refused as things stand; null where it would be applied.
    refusal: Option<RefusalReport>,
}

/// Why a stage would be refused.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefusalReport {
    /// The type of the problem that applying it would end with.
    #[serde(rename = "type")]
    kind: String,
    detail: String,
    /// Whether `force` overrides it.
    can_be_forced: bool,
}

/// A stage, or a change that was made.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ShiftReport {
    /// A change that is not in effect.
    Staged(StageReport),
    /// A change that was made.
    Applied(AppliedReport),
}

/// A change that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppliedReport {
    version: String,
    /// When (RFC 3339).
    at: String,
    who: String,
    why: String,
    differences: Vec<DifferenceReport>,
    /// Of how many of its lines nothing newer was wanted.
    standing: usize,
}

impl ShiftList {
    pub(super) fn of(steering: &Steering) -> Self {
        let ledger = steering.ledger();
        let published = steering.now();
        let ignored_by = |wish: &Wish| {
            let mut regions = published.picture.regions.iter();
            let index = regions.position(|region| region.name == wish.subject.region);
            let ignoring = published.routes.iter().filter(|route| {
                let is_its = wish.subject.route.as_ref();
                is_its.is_none_or(|name| *name == route.route.name)
                    && index.is_some_and(|index| route.effective.ignored.contains(index))
            });
            ignoring.map(|route| route.route.name.clone()).collect()
        };
        let standing = ledger.desired().wishes();
        let standing = standing.filter(|wish| wish.want != meridian_steer::Want::AsUsual);
        Self {
            wishes: standing
                .map(|wish| WishReport {
                    region: wish.subject.region.to_string(),
                    route: wish.subject.route.clone(),
                    want: wish.want.to_string(),
                    ignored_by: ignored_by(wish),
                    version: wish.version.to_string(),
                    at: rfc_3339(wish.at),
                    who: wish.who.clone(),
                    why: wish.why.clone(),
                })
                .collect(),
            changes: ledger.changes().iter().map(AppliedReport::of).collect(),
            staged: steering
                .staged()
                .iter()
                .map(|staged| StageReport::of(steering, staged))
                .collect(),
        }
    }
}

impl DifferenceReport {
    fn new(subject: &Subject, from: String, to: String) -> Self {
        Self {
            region: subject.region.to_string(),
            route: subject.route.clone(),
            from,
            to,
        }
    }

    fn of(line: &Difference) -> Self {
        Self::new(&line.subject, line.from.to_string(), line.to.to_string())
    }

    fn of_wish(wish: &Wish) -> Self {
        Self::new(
            &wish.subject,
            wish.before.to_string(),
            wish.want.to_string(),
        )
    }
}

impl StageReport {
    pub(super) fn of(steering: &Steering, staged: &Staged) -> Self {
        let (differences, refusal) = steering.preview(&staged.stage);
        Self {
            id: staged.id.clone(),
            at: rfc_3339(staged.at),
            who: staged.who.clone(),
            why: staged.why.clone(),
            differences: differences.iter().map(DifferenceReport::of).collect(),
            refusal: refusal.map(|reason| RefusalReport {
                kind: format!("/problems/{}", kind(&reason).name()),
                detail: reason.to_string(),
                can_be_forced: matches!(reason, Refused::TooMuchAtOnce { .. }),
            }),
        }
    }
}

impl AppliedReport {
    /// A change that is remembered.
    pub(super) fn of(change: &Change<'_>) -> Self {
        Self::made_of(&change.wishes, change.standing)
    }

    /// A change that was just made, all of which stands.
    pub(super) fn new(applied: &Applied) -> Self {
        let wishes: Vec<_> = applied.wishes.iter().collect();
        let standing = wishes.len();
        let mut report = Self::made_of(&wishes, standing);
        report.version = applied.version.to_string();
        report
    }

    fn made_of(wishes: &[&Wish], standing: usize) -> Self {
        // A change has one row at least, and all have the same version, time, author and reason.
        let text =
            |of: fn(&Wish) -> String| wishes.first().map(|wish| of(wish)).unwrap_or_default();
        Self {
            version: text(|wish| wish.version.to_string()),
            at: text(|wish| rfc_3339(wish.at)),
            who: text(|wish| wish.who.clone()),
            why: text(|wish| wish.why.clone()),
            differences: wishes
                .iter()
                .map(|wish| DifferenceReport::of_wish(wish))
                .collect(),
            standing,
        }
    }
}

fn kind(reason: &Refused) -> Kind {
    match reason {
        Refused::Nothing => Kind::NothingChanges,
        Refused::UnknownRegion(_) | Refused::MoreThanAll(_) => Kind::BadShift,
        Refused::LastHealthy { .. } => Kind::LastHealthyRegion,
        Refused::TooMuchAtOnce { .. } => Kind::TooMuchAtOnce,
        Refused::Changed { .. } => Kind::ShiftChanged,
    }
}

/// Why a change is not made.
pub(super) fn refused(reason: &Refused) -> Problem {
    let hint = match reason {
        Refused::Nothing => "all of it is so already; GET /v1/shifts shows what stands",
        Refused::UnknownRegion(_) => "the topology says which regions there are",
        Refused::MoreThanAll(_) => "a share is at most 100%",
        Refused::LastHealthy { .. } => {
            "nothing overrides this: bring another region back first, or undo its drain"
        }
        Refused::TooMuchAtOnce { .. } => {
            "go in smaller steps, each once the last one's clients have arrived, or force it"
        }
        Refused::Changed { .. } => "look at what stands now, and stage it anew",
    };
    let problem = Problem::new(kind(reason), reason.to_string()).hint(hint);
    match reason {
        Refused::LastHealthy { region, route } => problem
            .member("region", region.as_str())
            .member("route", route.as_str()),
        Refused::TooMuchAtOnce {
            route,
            leaving_percent,
            limit_percent,
        } => problem
            .member("route", route.as_str())
            .member("leaving_percent", *leaving_percent)
            .member("limit_percent", *limit_percent),
        Refused::Changed { who, why, .. } => problem
            .member("who", who.as_str())
            .member("why", why.as_str()),
        Refused::Nothing | Refused::UnknownRegion(_) | Refused::MoreThanAll(_) => problem,
    }
}
