//! Which path leads where.

use super::guard::guard;
use super::incoming::Incoming;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use super::{
    aside, backups, conflicts, dead_letters, faults, health, increments, integrity, listing, live,
    members, metrics, openapi, parked, postgres, postgres_compare, regions, replication, route,
    rows, shifts, status, transactions,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post};
use std::sync::LazyLock;

/// A row's path.
pub(crate) const ROW: &str = "/v1/tables/{table}/rows/{key}";

/// Every path of the API, and what answers there.
fn routes() -> Vec<(&'static str, MethodRouter<ApiState>)> {
    let row = get(rows::get).put(rows::put).delete(rows::delete);
    vec![
        ("/v1/tables", get(listing::tables)),
        ("/v1/tables/{table}/rows", get(listing::rows)),
        (ROW, row),
        (
            "/v1/tables/{table}/rows/{key}/increment",
            post(increments::increment),
        ),
        (
            "/v1/tables/{table}/rows/{key}/members",
            post(members::change),
        ),
        ("/v1/tables/{table}/checksum", get(listing::checksum)),
        ("/v1/transactions", post(transactions::execute)),
        ("/v1/status", get(status::status)),
        ("/v1/replication", get(replication::replication)),
        ("/v1/conflicts", get(conflicts::list)),
        ("/v1/faults", get(faults::list).post(faults::begin)),
        ("/v1/faults/{id}", delete(faults::lift)),
        ("/v1/dead-letters", get(dead_letters::list)),
        (
            "/v1/dead-letters/{id}",
            get(dead_letters::show).delete(dead_letters::drop_it),
        ),
        ("/v1/dead-letters/{id}/retry", post(dead_letters::retry)),
        ("/v1/dead-letters/{id}/edit", post(dead_letters::edit)),
        ("/v1/datasets/{dataset}/backup", get(backups::backup)),
        ("/v1/aside", get(aside::list)),
        ("/v1/aside/{id}", get(aside::show).delete(aside::discard)),
        ("/v1/aside/{id}/resubmit", post(aside::resubmit)),
        ("/v1/regions", get(regions::list).post(regions::add)),
        ("/v1/regions/{name}", delete(regions::remove)),
        ("/v1/regions/{name}/evict", post(regions::evict)),
        ("/v1/parked", get(parked::list)),
        (
            "/v1/parked/{table}/{key}",
            get(parked::show).delete(parked::drop_it),
        ),
        ("/v1/parked/{table}/{key}/retry", post(parked::retry)),
        ("/v1/parked/{table}/{key}/edit", post(parked::edit)),
        ("/v1/health", get(health::health)),
        ("/v1/route", get(route::explain)),
        ("/v1/shifts", get(shifts::list).post(shifts::stage)),
        ("/v1/shifts/{id}", get(shifts::show).delete(shifts::discard)),
        ("/v1/shifts/{id}/apply", post(shifts::apply)),
        ("/v1/shifts/{id}/undo", post(shifts::undo)),
        ("/metrics", get(metrics::metrics)),
        ("/openapi.json", get(openapi::describe)),
        ("/livez", get(live::livez)),
        ("/readyz", get(live::readyz)),
        ("/v1/integrity", get(integrity::integrity)),
        (
            "/v1/integrity/comparisons",
            get(integrity::comparison).post(integrity::compare),
        ),
        (
            "/v1/datasets/{dataset}/postgres/attach",
            post(postgres::attach),
        ),
        (
            "/v1/datasets/{dataset}/postgres/detach",
            post(postgres::detach),
        ),
        (
            "/v1/datasets/{dataset}/postgres/comparisons",
            get(postgres_compare::comparison).post(postgres_compare::compare),
        ),
    ]
}

/// The paths alone.
pub(crate) static PATHS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| routes().into_iter().map(|(path, _)| path).collect());

/// The API's router.
pub fn router(state: ApiState) -> Router {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, answer)| {
            router.route(path, answer)
        });
    router
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
