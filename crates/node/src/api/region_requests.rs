//! What is asked about regions, read with care, and why it is refused.

use super::documents;
use super::incoming::Incoming;
use super::problem::{Kind, Problem};
use crate::dataset::Membership;
use crate::known::{Known, microdegrees};
use meridian_model::{DecidedBy, RegionAddress, RegionName};
use meridian_replicate::ProposeError;
use meridian_topology::{Address, Location, check_region_name, well_known};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::ToSchema;

const BODY_BYTES_MAX: usize = 64 << 10;

/// A region that is to join.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddRequest {
    /// Its name.
    name: String,
    /// `host:port` of its API; may be left out where the topology names the region, and for one
    /// that was a member before. The same goes for `link` and `place`.
    api: Option<String>,
    /// `host:port` of its link.
    link: Option<String>,
    /// Where it is: a cloud region's name, or `{"latitude", "longitude"}` in degrees; by its own name
    /// if it is left out.
    #[schema(value_type = Option<Object>)]
    place: Option<Value>,
    /// In which datasets; all if it is left out.
    datasets: Option<Vec<String>>,
}

/// A region that is to count no more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvictRequest {
    /// `majority`, or `operator` where no majority can be had.
    decided_by: Decider,
    /// The region's name once more.
    confirm: String,
}

/// Who decides.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decider {
    /// The regions.
    Majority,
    /// A person.
    Operator,
}

/// A checked [`AddRequest`].
pub(super) struct Add {
    pub(super) name: String,
    pub(super) address: Option<RegionAddress>,
    pub(super) datasets: Option<Vec<String>>,
}

pub(super) async fn read_add(incoming: Incoming, known: &Known) -> Result<Add, Problem> {
    let asked: AddRequest = read(incoming).await?;
    check_region_name(&asked.name)
        .map_err(|error| Problem::new(Kind::BadBody, error.reason).hint(error.hint))?;
    let address = address(&asked, known)?;
    let AddRequest { name, datasets, .. } = asked;
    Ok(Add {
        name,
        address,
        datasets,
    })
}

/// The address as it is stated, else as it is known.
fn address(asked: &AddRequest, known: &Known) -> Result<Option<RegionAddress>, Problem> {
    let region = RegionName::new(&asked.name);
    let (Some(api), Some(link)) = (&asked.api, &asked.link) else {
        if asked.api.is_some() || asked.link.is_some() {
            return Err(Problem::new(Kind::BadBody, "api and link go together"));
        }
        if known.is_in_topology(&region) {
            return Ok(None);
        }
        let address = known.address(&region).ok_or_else(|| {
            let detail = format!("region {region} is not known here");
            let names = known.names();
            let names: Vec<_> = names.iter().map(RegionName::as_str).collect();
            Problem::new(Kind::UnknownRegion, detail).hint(format!(
                "one that is new is added with its addresses, `api` and `link`, each host:port; \
                     those known are {}",
                names.join(", ")
            ))
        })?;
        return Ok(Some(address));
    };
    for (what, text) in [("api", api), ("link", link)] {
        let parsed = text.parse::<Address>();
        if !parsed.is_ok_and(|address| address.port() != 0 && !address.is_unspecified()) {
            let detail =
                format!("{what} is host:port at which others reach the region, not {text:?}");
            return Err(Problem::new(Kind::BadBody, detail));
        }
    }
    Ok(Some(RegionAddress {
        api: api.clone(),
        link: link.clone(),
        place: place(asked)?.map(microdegrees),
    }))
}

fn place(asked: &AddRequest) -> Result<Option<Location>, Problem> {
    let named = |name: &str| well_known(name).map(|place| place.location);
    let found = match &asked.place {
        None => return Ok(named(&asked.name)),
        Some(Value::String(name)) => named(name),
        Some(place) => {
            let degrees = |name: &str| place.get(name).and_then(Value::as_f64);
            let at = degrees("latitude").zip(degrees("longitude"));
            at.and_then(|(latitude, longitude)| Location::new(latitude, longitude))
        }
    };
    found.map(Some).ok_or_else(|| {
        Problem::new(Kind::BadBody, "place is nowhere on the map")
            .hint("give a cloud region's name, or latitude and longitude in degrees")
    })
}

pub(super) async fn read_evict(incoming: Incoming, name: &str) -> Result<DecidedBy, Problem> {
    let asked: EvictRequest = read(incoming).await?;
    if asked.confirm != name {
        let detail = format!(
            "confirm says {:?}, and the region is {name:?}",
            asked.confirm
        );
        return Err(
            Problem::new(Kind::BadBody, detail).hint("repeat the region's name in `confirm`")
        );
    }
    Ok(match asked.decided_by {
        Decider::Majority => DecidedBy::Majority,
        Decider::Operator => DecidedBy::Operator,
    })
}

async fn read<T: DeserializeOwned>(mut incoming: Incoming) -> Result<T, Problem> {
    let [] = incoming.query([])?;
    let text = documents::text(incoming.read_body(BODY_BYTES_MAX).await?)?;
    documents::object(&text)
}

/// What to do about a region that isn't one of these.
pub(super) fn did_you_mean<'a>(
    region: &RegionName,
    regions: impl IntoIterator<Item = &'a RegionName>,
) -> String {
    let names: BTreeSet<&str> = regions.into_iter().map(RegionName::as_str).collect();
    meridian_topology::did_you_mean(region.as_str(), "regions", names)
}

/// Why a change has not begun.
pub(super) fn refused(error: &ProposeError, membership: &Membership) -> Problem {
    let kind = match error {
        ProposeError::AlreadyMember { .. } => Kind::AlreadyMember,
        ProposeError::NotMember { .. } => Kind::UnknownRegion,
        ProposeError::LastVoter { .. } => Kind::LastRegion,
        ProposeError::NoMajority { .. } => Kind::NeedsMajority,
        ProposeError::InProgress
        | ProposeError::StillParting { .. }
        | ProposeError::Behind { .. } => Kind::MembershipBusy,
        ProposeError::Stopped { .. } | ProposeError::NotLogged { .. } => Kind::DatasetStopped,
        _ => Kind::MembershipRefused,
    };
    let problem = Problem::new(kind, error.to_string());
    match error {
        ProposeError::NoMajority { .. } => {
            let voters: Vec<_> = membership.epoch.voters().map(|it| it.0.as_str()).collect();
            let hint = if voters.len() == 2 {
                "of two regions neither is a majority: make sure that the other takes no writes, \
                 then decide it yourself (`decided_by` operator; `meridian regions evict NAME \
                 --operator-decides --yes`)"
                    .to_owned()
            } else {
                format!(
                    "more than half of {} have to be in touch with this one; if they never will \
                     be again, make sure that they take no writes, then decide it yourself \
                     (`decided_by` operator; `meridian regions evict NAME --operator-decides --yes`)",
                    voters.join(", ")
                )
            };
            problem.hint(hint).member("voters", voters)
        }
        ProposeError::InProgress
        | ProposeError::StillParting { .. }
        | ProposeError::Behind { .. } => problem.hint(error.hint()).retry_after(1),
        _ => problem.hint(error.hint()),
    }
}
