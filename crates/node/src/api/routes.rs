//! Which path leads where.

use super::guard::guard;
use super::incoming::Incoming;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use super::transactions;
use super::{
    aside, conflicts, increments, listing, live, metrics, openapi, regions, replication, rows,
    status,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware;
use axum::routing::{delete, get, post};

/// Every path of the API.
pub(crate) const PATHS: [&str; 19] = [
    "/v1/tables",
    "/v1/tables/{table}/rows",
    "/v1/tables/{table}/rows/{key}",
    "/v1/tables/{table}/rows/{key}/increment",
    "/v1/tables/{table}/checksum",
    "/v1/transactions",
    "/v1/status",
    "/v1/replication",
    "/v1/conflicts",
    "/metrics",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/v1/aside",
    "/v1/aside/{id}",
    "/v1/aside/{id}/resubmit",
    "/v1/regions",
    "/v1/regions/{name}",
    "/v1/regions/{name}/evict",
];

/// The API's router.
pub fn router(state: ApiState) -> Router {
    let [
        tables,
        listed,
        row,
        increment,
        checksum,
        transaction,
        rest @ ..,
    ] = PATHS;
    let [
        region,
        streams,
        conflict,
        scrape,
        description,
        lives,
        ready,
        rest @ ..,
    ] = rest;
    let [kept, one_kept, again, members, member, eviction] = rest;
    Router::new()
        .route(tables, get(listing::tables))
        .route(listed, get(listing::rows))
        .route(row, get(rows::get).put(rows::put).delete(rows::delete))
        .route(increment, post(increments::increment))
        .route(checksum, get(listing::checksum))
        .route(transaction, post(transactions::execute))
        .route(region, get(status::status))
        .route(streams, get(replication::replication))
        .route(conflict, get(conflicts::list))
        .route(scrape, get(metrics::metrics))
        .route(description, get(openapi::describe))
        .route(lives, get(live::livez))
        .route(ready, get(live::readyz))
        .route(kept, get(aside::list))
        .route(one_kept, get(aside::show).delete(aside::discard))
        .route(again, post(aside::resubmit))
        .route(members, get(regions::list).post(regions::add))
        .route(member, delete(regions::remove))
        .route(eviction, post(regions::evict))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

async fn unknown_path(request: Request) -> Problem {
    let request = Incoming::new(request);
    let detail = format!("nothing is at {}", request.parts.uri.path());
    Problem::new(Kind::UnknownPath, detail).hint("the paths are listed at /openapi.json")
}

async fn method_not_allowed(request: Request) -> Problem {
    let request = Incoming::new(request);
    let (method, path) = (&request.parts.method, request.parts.uri.path());
    let detail = format!("{method} is not for {path}");
    Problem::new(Kind::MethodNotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_is_described_and_no_other() {
        let described: BTreeSet<String> = openapi::openapi().paths.paths.into_keys().collect();
        let routed: BTreeSet<String> = PATHS.iter().map(ToString::to_string).collect();
        assert_eq!(described, routed);
    }
}
