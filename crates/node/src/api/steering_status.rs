//! How clients are spread over the regions, in short.

use super::state::ApiState;
use meridian_steer::{Picture, SteeredRoute};
use serde::Serialize;
use utoipa::ToSchema;

/// How a route spreads clients over the regions.
#[derive(Serialize, ToSchema)]
pub(crate) struct RouteStatus {
    name: String,
    /// The policy; of nested ones the outermost.
    policy: &'static str,
    regions: Vec<RouteRegionStatus>,
}

/// How a route has a region.
#[derive(Serialize, ToSchema)]
pub(crate) struct RouteRegionStatus {
    region: String,
    /// own, healthy, degraded, drained or down.
    tier: &'static str,
    /// The share of its clients that it takes.
    share: f32,
    /// Whether a drain of it is not heeded, as nothing healthy would be left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    drain_ignored: bool,
}

/// Every route.
pub(crate) fn routes(state: &ApiState) -> Vec<RouteStatus> {
    let published = state.api().steering.now();
    let routes = published.routes.iter();
    routes.map(|route| of(route, &published.picture)).collect()
}

fn of(route: &SteeredRoute, picture: &Picture) -> RouteStatus {
    let members = route.route.policy.regions();
    let regions = picture.regions.iter().zip(route.table.tiers()).enumerate();
    let regions = regions.filter(|(_, (region, _))| members.contains(&region.name));
    RouteStatus {
        name: route.route.name.clone(),
        policy: route.route.policy.by.as_str(),
        regions: regions
            .map(|(index, (region, tier))| RouteRegionStatus {
                region: region.name.to_string(),
                tier: tier.as_str(),
                share: route.share(index),
                drain_ignored: route.effective.ignored.contains(index),
            })
            .collect(),
    }
}
