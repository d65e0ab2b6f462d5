//! Which regions there are, and how they join and leave.
//!
//! A change is asked of one region and decided by a majority; the reply says that it has begun, and
//! `GET /v1/regions` how it goes.

use super::incoming::Incoming;
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::region_requests::{self, AddRequest, EvictRequest};
use super::state::{ApiState, DatasetState};
use crate::dataset::{DatasetHandle, Membership, apart};
use crate::known::{Known, degrees};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use meridian_model::{DecidedBy, Epoch, Member, RegionName, Standing};
use meridian_replicate::{Deciding, OwnStanding, Proposal};
use serde::Serialize;
use utoipa::ToSchema;

const PATH: &str = "/v1/regions";

/// Which regions there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegionsReply {
    /// Who says it.
    region: String,
    datasets: Vec<DatasetRegions>,
}

/// The members of a dataset.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetRegions {
    dataset: String,
    /// `running`, `joining`, `opening` or `failed`.
    state: &'static str,
    /// What it is doing, or why it doesn't run.
    progress: Option<String>,
    /// What to do about it where it doesn't run, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The number of the membership; it grows with each change.
    epoch: Option<u64>,
    /// How this region stands: `voting`, `joining`, `leaving`, `evicted` or `removed`.
    standing: Option<&'static str>,
    /// How it came that it counts no more.
    reason: Option<String>,
    members: Vec<MemberReport>,
    /// What is being decided.
    proposal: Option<ProposalReport>,
}

/// A region that counts.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberReport {
    region: String,
    /// `joining`, `voting` or `leaving`.
    standing: &'static str,
    /// Its incarnation; null until its stream has begun.
    origin: Option<String>,
    /// `host:port` of its API.
    api: Option<String>,
    /// `host:port` of its link.
    link: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    /// The membership that it is known to go by.
    adopted: Option<u64>,
    /// Whether it is a witness, which holds no tables.
    witness: bool,
    /// Whether nothing has come from it for a while.
    away: bool,
    /// Whom it waits for, if it leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<Vec<String>>,
}

/// A change that is being decided.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProposalReport {
    /// In words, where it was asked for at this region.
    what: Option<String>,
    /// The number of the membership to come.
    epoch: u64,
    /// How many regions would follow.
    promised: usize,
    /// How many have accepted.
    accepted: usize,
    /// How many are needed.
    needed: usize,
}

/// A change of the regions has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegionsChange {
    region: String,
    /// The datasets in which it has.
    datasets: Vec<String>,
    /// What it waits for, and what else may be done about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Where to see how it goes.
    see: &'static str,
}

/// Shows each dataset's members, as this region sees them.
#[utoipa::path(
    get,
    path = "/v1/regions",
    tag = "regions",
    responses(
        (status = 200, description = "The members.", body = RegionsReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [] = Incoming::new(request).query([])?;
    let known = &state.api().known;
    let datasets = state.datasets().iter();
    let reply = RegionsReply {
        region: state.api().region.to_string(),
        datasets: datasets
            .map(|(name, found)| of_dataset(name, found, known))
            .collect(),
    };
    Ok(serialized(StatusCode::OK, &reply))
}

/// Lets a region join, or an evicted one join anew.
#[utoipa::path(
    post,
    path = "/v1/regions",
    tag = "regions",
    request_body = AddRequest,
    responses(
        (status = 202, description = "It is being decided.", body = RegionsChange),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn add(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = region_requests::read_add(Incoming::new(request), &state.api().known).await?;
    let region = RegionName::new(&asked.name);
    let datasets = chosen(&state, asked.datasets.as_deref())?;
    let is_member = |dataset: &DatasetHandle| {
        let membership = dataset.membership();
        membership.epoch.members.contains_key(&region)
    };
    if datasets.iter().all(|dataset| is_member(dataset)) {
        let detail = format!("region {region} is a member already");
        return Err(Problem::new(Kind::AlreadyMember, detail)
            .hint("nothing is to be done; `meridian regions` shows how it stands"));
    }
    let mut begun = Vec::new();
    for dataset in datasets.into_iter().filter(|dataset| !is_member(dataset)) {
        let proposal = Proposal::Add {
            region: region.clone(),
            address: asked.address.clone(),
        };
        propose(dataset, proposal, &mut begun).await?;
    }
    Ok(accepted(&region, begun, None))
}

/// Lets a region leave: it takes no more writes, and goes once everybody has what it holds.
#[utoipa::path(
    delete,
    path = "/v1/regions/{name}",
    tag = "regions",
    params(("name" = String, Path, description = "The region.")),
    responses(
        (status = 202, description = "It is being decided.", body = RegionsChange),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let region = RegionName::new(&incoming.id_alone()?);
    let mut begun = Vec::new();
    let datasets = counting(&state, &region)?;
    for dataset in &datasets {
        somebody_writes_without(&region, dataset)?;
        who_stays_is_there(&region, dataset)?;
    }
    let is_away = |dataset: &&DatasetHandle| dataset.membership().away.contains(&region);
    let hint = datasets.iter().any(is_away).then(|| {
        format!(
            "nothing has come from region {region} for a while: it leaves once it is back and the \
             others have what it holds; if it is gone for long, evict it (`meridian regions evict \
             {region}`)"
        )
    });
    for dataset in datasets {
        let proposal = Proposal::Remove {
            region: region.clone(),
        };
        propose(dataset, proposal, &mut begun).await?;
    }
    Ok(accepted(&region, begun, hint))
}

/// Counts a region no more that is gone.
#[utoipa::path(
    post,
    path = "/v1/regions/{name}/evict",
    tag = "regions",
    params(("name" = String, Path, description = "The region.")),
    request_body = EvictRequest,
    responses(
        (status = 202, description = "It is being decided.", body = RegionsChange),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn evict(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let name = incoming.id()?.into_owned();
    let decided_by = region_requests::read_evict(incoming, &name).await?;
    let region = RegionName::new(&name);
    let mut begun = Vec::new();
    for dataset in counting(&state, &region)? {
        let proposal = Proposal::Evict {
            region: region.clone(),
            decided_by,
        };
        propose(dataset, proposal, &mut begun).await?;
    }
    Ok(accepted(&region, begun, None))
}

/// Whether another region would take the dataset's writes, by its write topology.
fn somebody_writes_without(region: &RegionName, dataset: &DatasetHandle) -> Result<(), Problem> {
    let writes = &dataset.promises().writes;
    let membership = dataset.membership();
    let mut others = membership.epoch.members.iter();
    let is_taken = others.any(|(other, member)| {
        other != region && member.standing == Standing::Voting && writes.takes(other)
    });
    if is_taken || !writes.takes(region) {
        return Ok(());
    }
    let name = dataset.name();
    let detail = format!("without region {region} nobody would take writes of dataset {name}");
    Err(Problem::new(Kind::LastRegion, detail).hint(
        "give the dataset another home (`home`), or another region that takes writes \
         (`read-replicas`), in every region's topology first",
    ))
}

/// Whether all who would stay are in touch. A region leaves once all of these hold what it holds, and
/// takes and confirms no writes until then: it isn't asked to leave where that can't be for now.
fn who_stays_is_there(region: &RegionName, dataset: &DatasetHandle) -> Result<(), Problem> {
    let membership = dataset.membership();
    nobody_copies(region, dataset.name(), &membership.epoch)?;
    let away = membership.away.iter().filter(|away| *away != region);
    let away = texts(away);
    let Some(first) = away.first() else {
        return Ok(());
    };
    let (name, all) = (dataset.name(), away.join(", "));
    let detail = format!(
        "dataset {name}: region {region} can leave once all who stay hold what it holds, and nothing \
         has come from {all} for a while"
    );
    let hint = format!(
        "wait until {all} is back, or evict it first if it is gone for long (`meridian regions evict \
         {first}`)"
    );
    Err(Problem::new(Kind::MembershipRefused, detail)
        .hint(hint)
        .member("away", away))
}

/// Whether all who would stay have begun: one that joins may copy for long, and nobody leaves before it
/// votes. (Who has yet to begin goes at once.)
fn nobody_copies(region: &RegionName, dataset: &str, epoch: &Epoch) -> Result<(), Problem> {
    let leaver = epoch.members.get(region);
    if leaver.is_some_and(Member::is_yet_to_begin) {
        return Ok(());
    }
    let others = epoch.members.iter().filter(|(other, _)| *other != region);
    let copying = others.filter(|(_, member)| member.is_yet_to_begin());
    let copying = texts(copying.map(|(other, _)| other));
    let Some(first) = copying.first() else {
        return Ok(());
    };
    let all = copying.join(", ");
    let detail = format!(
        "dataset {dataset}: region {region} can leave once all who stay hold what it holds, and this is \
         joining and has yet to copy the tables or to catch up: {all}"
    );
    let hint = format!(
        "wait until {all} votes, or evict it if it won't come (`meridian regions evict {first}`)"
    );
    Err(Problem::new(Kind::MembershipRefused, detail)
        .hint(hint)
        .member("joining", copying))
}

fn texts<'a>(names: impl IntoIterator<Item = &'a RegionName>) -> Vec<String> {
    names.into_iter().map(ToString::to_string).collect()
}

async fn propose(
    dataset: &DatasetHandle,
    proposal: Proposal,
    begun: &mut Vec<String>,
) -> Result<(), Problem> {
    let name = dataset.name();
    let proposed = dataset.propose(proposal).await;
    proposed.map_err(|error| {
        region_requests::refused(&error, &dataset.membership()).at(&format!("dataset {name}"))
    })?;
    begun.push(name.to_owned());
    Ok(())
}

fn accepted(region: &RegionName, datasets: Vec<String>, hint: Option<String>) -> Response {
    let change = RegionsChange {
        region: region.to_string(),
        datasets,
        hint,
        see: PATH,
    };
    let mut response = serialized(StatusCode::ACCEPTED, &change);
    let see = HeaderValue::from_static(PATH);
    response.headers_mut().insert(header::LOCATION, see);
    response
}

/// An error where no dataset runs, of whose members anything could be said.
fn some_run(state: &ApiState) -> Result<(), Problem> {
    if state.running().next().is_some() {
        return Ok(());
    }
    let detail = format!("no dataset runs in region {} now", state.api().region);
    let hint = "ask another region, or wait until this one has its datasets: \
                `meridian regions list` shows how they stand";
    Err(Problem::new(Kind::DatasetUnavailable, detail).hint(hint))
}

/// The running datasets of these names, or all.
fn chosen<'a>(
    state: &'a ApiState,
    names: Option<&[String]>,
) -> Result<Vec<&'a DatasetHandle>, Problem> {
    some_run(state)?;
    let Some(names) = names else {
        return Ok(state.running().collect());
    };
    let find = |name: &String| {
        let found = state.datasets().get(name).and_then(DatasetState::running);
        found.ok_or_else(|| {
            let detail = format!("no dataset {name:?} runs in this region");
            let running: Vec<_> = state.running().map(DatasetHandle::name).collect();
            let hint = format!("those that do are {}", running.join(", "));
            Problem::new(Kind::BadBody, detail).hint(hint)
        })
    };
    names.iter().map(find).collect()
}

/// The datasets of which a region is a member.
fn counting<'a>(
    state: &'a ApiState,
    region: &RegionName,
) -> Result<Vec<&'a DatasetHandle>, Problem> {
    let counts = |dataset: &&DatasetHandle| {
        let membership = dataset.membership();
        membership.epoch.members.contains_key(region)
    };
    some_run(state)?;
    let found: Vec<_> = state.running().filter(counts).collect();
    if found.is_empty() {
        let detail = format!("region {region} is a member of no dataset that runs here");
        let memberships: Vec<_> = state.running().map(DatasetHandle::membership).collect();
        let members = memberships.iter().flat_map(|it| it.epoch.members.keys());
        let hint = region_requests::did_you_mean(region, members);
        return Err(Problem::new(Kind::UnknownRegion, detail).hint(hint));
    }
    Ok(found)
}

fn of_dataset(name: &str, found: &DatasetState, known: &Known) -> DatasetRegions {
    let why = match found {
        DatasetState::Joining(progress) => Some(progress.now()),
        found => found.absence(),
    };
    let (progress, hint) = why.as_deref().map(apart).unzip();
    let mut report = DatasetRegions {
        dataset: name.to_owned(),
        state: match found {
            DatasetState::Opening => "opening",
            DatasetState::Joining(_) => "joining",
            DatasetState::Running(_) => "running",
            DatasetState::Failed { .. } => "failed",
        },
        progress: progress.map(str::to_owned),
        hint: hint.flatten().map(str::to_owned),
        epoch: None,
        standing: None,
        reason: None,
        members: Vec::new(),
        proposal: None,
    };
    if let Some(handle) = found.running() {
        add_membership(&mut report, &handle.membership(), known);
    }
    report
}

fn add_membership(report: &mut DatasetRegions, membership: &Membership, known: &Known) {
    let own = own_standing(membership, known);
    report.epoch = Some(membership.epoch.number);
    report.standing = Some(own);
    match &membership.standing {
        OwnStanding::Joining { waiting_for } => {
            let names: Vec<_> = waiting_for.iter().map(RegionName::as_str).collect();
            report.state = "joining";
            report.progress = Some(match names.as_slice() {
                [] => "counted by all; waits for its vote".to_owned(),
                names => format!("catches up; not yet counted by {}", names.join(", ")),
            });
        }
        OwnStanding::Evicted { reason, .. } => report.reason = Some(reason.clone()),
        OwnStanding::Voting | OwnStanding::Leaving => {}
    }
    let members = membership.epoch.members.iter();
    report.members = members
        .map(|(region, member)| of_member(region, member, membership, known))
        .collect();
    report.proposal = membership.deciding.as_ref().map(of_proposal);
}

/// A region that counts no more was removed if it was leaving.
fn own_standing(membership: &Membership, known: &Known) -> &'static str {
    match &membership.standing {
        OwnStanding::Voting => "voting",
        OwnStanding::Joining { .. } => "joining",
        OwnStanding::Leaving => "leaving",
        OwnStanding::Evicted { .. } if membership.was_removed(known.own()) => "removed",
        OwnStanding::Evicted { .. } => "evicted",
    }
}

fn of_member(
    region: &RegionName,
    member: &Member,
    membership: &Membership,
    known: &Known,
) -> MemberReport {
    let address = known.address(region).or_else(|| member.address.clone());
    let place = address
        .as_ref()
        .and_then(|address| address.place)
        .map(degrees);
    MemberReport {
        region: region.to_string(),
        standing: match member.standing {
            Standing::Joining => "joining",
            Standing::Voting => "voting",
            Standing::Leaving => "leaving",
        },
        origin: member.origin.map(|origin| origin.to_string()),
        api: address.as_ref().map(|address| address.api.clone()),
        link: address.map(|address| address.link),
        latitude: place.map(|place| place.0),
        longitude: place.map(|place| place.1),
        adopted: membership.adopted.get(region).copied(),
        witness: known.is_witness(region),
        away: membership.away.contains(region),
        waits_for: membership.waits_for.get(region).map(texts),
    }
}

fn of_proposal(deciding: &Deciding) -> ProposalReport {
    let what = deciding.proposal.as_ref().map(|proposal| match proposal {
        Proposal::Add { region, .. } => format!("add {region}"),
        Proposal::Remove { region } => format!("remove {region}"),
        Proposal::Evict {
            region,
            decided_by: DecidedBy::Majority | DecidedBy::Operator,
        } => format!("evict {region}"),
    });
    ProposalReport {
        what,
        epoch: deciding.number,
        promised: deciding.promised,
        accepted: deciding.accepted,
        needed: deciding.needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::OriginId;

    #[test]
    fn who_stays_and_is_still_copying_is_to_be_waited_for() {
        let member = |name: &str, origin: Option<u64>, standing| {
            let member = Member {
                origin: origin.map(OriginId),
                standing,
                address: None,
            };
            (RegionName::new(name), member)
        };
        let epoch = Epoch {
            number: 3,
            members: [
                member("a", Some(1), Standing::Voting),
                member("b", Some(2), Standing::Voting),
                member("c", None, Standing::Joining),
                member("d", Some(4), Standing::Joining),
            ]
            .into(),
        };
        let refused = nobody_copies(&RegionName::new("b"), "main", &epoch).unwrap_err();
        let said = format!("{refused:?}");
        assert!(said.contains("catch up: c"), "{said}");
        assert!(said.contains("wait until c votes"), "{said}");
        // What it gives up is its own copy.
        nobody_copies(&RegionName::new("c"), "main", &epoch).unwrap();
    }
}
