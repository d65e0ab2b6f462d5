//! placeholder while the real one is written
use super::state::ApiState;
use axum::Router;
use axum::routing::{get, post};
/// placeholder
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v1/tables/{table}/rows/{key}", get(super::rows::get).put(super::rows::put).delete(super::rows::delete))
        .route("/v1/tables/{table}/rows/{key}/increment", post(super::increments::increment))
        .route("/v1/tables/{table}/rows", get(super::listing::rows))
        .route("/v1/tables/{table}/checksum", get(super::listing::checksum))
        .route("/v1/tables", get(super::listing::tables))
        .route("/v1/transactions", post(super::transactions::execute))
        .route("/v1/status", get(super::status::status))
        .route("/v1/replication", get(super::replication::replication))
        .route("/v1/conflicts", get(super::conflicts::list))
        .route("/livez", get(super::live::livez))
        .route("/readyz", get(super::live::readyz))
        .with_state(state)
}
