//! Where a client goes, and why.

use super::incoming::Incoming;
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_steer::{Published, SteeredRoute};
use meridian_topology::did_you_mean;
use serde::Serialize;
use std::net::IpAddr;
use utoipa::ToSchema;

/// The bits of an address by which resolvers tell clients apart (RFC 7871, section 11.1).
const V4_BITS: u8 = 24;
const V6_BITS: u8 = 56;

/// Where a client goes, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct RouteReply {
    /// The route.
    name: String,
    /// The client, as it was given.
    client: String,
    /// The region that answers. Others may see the regions otherwise for a moment.
    answered_by: String,
    /// Whether it hears a majority. Without one it goes by its own eyes.
    quorum: bool,
    /// The policy; of nested ones the outermost.
    policy: &'static str,
    /// The part of the world that the client is in, if it is known.
    area: Option<&'static str>,
    /// Its country (ISO 3166-1 alpha-2), if a database says so.
    country: Option<String>,
    /// For how many leading bits of the client's address this holds.
    scope_bits: u8,
    /// The regions, the best first.
    regions: Vec<RouteRegion>,
    /// The others of the route, and why not.
    left_out: Vec<RouteLeftOut>,
}

/// A region in the answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct RouteRegion {
    region: String,
    /// Whether the client is given it.
    given: bool,
    /// own, healthy, degraded, drained or down.
    tier: &'static str,
    /// The share of its clients that it takes: less than 1 while it comes back, when it is full, and
    /// where somebody wants so.
    share: f32,
    /// Why it stands where it does.
    reason: String,
}

/// A region that isn't in the answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct RouteLeftOut {
    region: String,
    reason: String,
}

/// Shows where a client goes, and why.
#[utoipa::path(
    get,
    path = "/v1/route",
    tag = "steering",
    params(
        ("client" = String, Query, description = "The client's address, or its network: \
            `203.0.113.7`, `203.0.113.0/24`."),
        ("name" = Option<String>, Query, description = "The route; may be left out where there is \
            one."),
        ("key" = Option<String>, Query, description = "What the client is recognised by where \
            chance decides: a cookie, say. Its network unless given."),
    ),
    responses(
        (status = 200, description = "Where it goes.", body = RouteReply),
        (status = 400, description = "The query can't be read.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such route.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn explain(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [client, name, key] = Incoming::new(request).query(["client", "name", "key"])?;
    let client = client.ok_or_else(|| bad_client("the query names no client"))?;
    let (address, bits) = network(&client)?;
    let steering = &state.api().steering;
    let published = steering.now();
    let route = route(&published, name.as_deref())?;
    let located = steering.client(address, bits, key.as_deref());
    let located = route.recognised(located, address, fastrand::u64(..));
    let explained = route.table.explain(&located);
    let share = |region: &str| {
        let mut regions = published.picture.regions.iter();
        let index = regions.position(|known| known.name.as_str() == region);
        index.map_or(1.0, |index| route.share(index))
    };
    let reply = RouteReply {
        name: route.route.name.clone(),
        client,
        answered_by: state.api().region.to_string(),
        quorum: published.picture.has_quorum,
        policy: explained.policy,
        area: explained.area.map(|area| area.as_str()),
        country: located
            .located
            .and_then(|located| located.country)
            .map(|country| country.to_string()),
        scope_bits: explained.scope_bits,
        regions: explained
            .regions
            .into_iter()
            .map(|region| RouteRegion {
                share: share(region.region.as_str()),
                region: region.region.to_string(),
                given: region.given,
                tier: region.tier.as_str(),
                reason: region.reason,
            })
            .collect(),
        left_out: explained
            .left_out
            .into_iter()
            .map(|region| RouteLeftOut {
                region: region.region.to_string(),
                reason: region.reason.to_owned(),
            })
            .collect(),
    };
    Ok(serialized(StatusCode::OK, &reply))
}

/// The route of this name, or the only one.
fn route<'a>(published: &'a Published, name: Option<&str>) -> Result<&'a SteeredRoute, Problem> {
    let names: Vec<_> = published
        .routes
        .iter()
        .map(|it| it.route.name.as_str())
        .collect();
    match (name, published.routes.as_slice()) {
        (Some(name), _) => match published.route(name) {
            Some((_, route)) => Ok(route),
            None => Err(unknown_route(name, &names)),
        },
        (None, [only]) => Ok(only),
        (None, _) => Err(Problem::new(Kind::BadQuery, "the query names no route")
            .hint(format!("the routes are: {}", names.join(", ")))),
    }
}

/// There is no such route.
pub(super) fn unknown_route(name: &str, names: &[&str]) -> Problem {
    let hint = match names {
        [] => "the topology names no route".to_owned(),
        names => did_you_mean(name, "routes", names.iter().copied()),
    };
    Problem::new(Kind::RouteNotFound, format!("there is no route {name:?}")).hint(hint)
}

fn bad_client(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadQuery, detail)
        .hint("client is an address or a network: 203.0.113.7, 203.0.113.0/24, 2001:db8::/56")
}

/// An address and how many bits of it are known.
fn network(client: &str) -> Result<(IpAddr, u8), Problem> {
    let unreadable = || bad_client(format!("{client:?} is no address and no network"));
    let (address, bits) = match client.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (client, None),
    };
    let address: IpAddr = address.parse().map_err(|_| unreadable())?;
    let (usual, most) = match address {
        IpAddr::V4(_) => (V4_BITS, 32),
        IpAddr::V6(_) => (V6_BITS, 128),
    };
    let Some(bits) = bits else {
        return Ok((address, usual));
    };
    let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = bits
        .parse()
        .ok()
        .filter(|bits| is_number && (1..=most).contains(bits));
    Ok((address, bits.ok_or_else(unreadable)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let read = |text: &str| network(text).map(|(address, bits)| (address.to_string(), bits));
        assert_eq!(read("203.0.113.7").unwrap(), ("203.0.113.7".to_owned(), 24));
        assert_eq!(read("203.0.113.0/20").unwrap().1, 20);
        assert_eq!(read("2001:db8::1").unwrap().1, 56);
        assert_eq!(read("2001:db8::1/128").unwrap().1, 128);
        for bad in [
            "",
            "a",
            "203.0.113",
            "203.0.113.7/",
            "203.0.113.7/0",
            "203.0.113.7/33",
            "::/+5",
        ] {
            assert_eq!(read(bad).unwrap_err().kind(), Kind::BadQuery, "{bad}");
        }
    }
}
