//! Where a request comes in: reads and writes of single rows go straight to their handlers,
//! everything else through the router.
//!
//! The router would find the same handlers, behind the same guard; but matching, its extensions and
//! the boxes around each layer cost a fifth of what a row's `PUT` takes altogether.

use super::guard::guarded;
use super::routes::{ROW, router};
use super::rows;
use super::state::ApiState;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::Body as HttpBody;
use tower::Service as _;

/// The API's entrance; clones are cheap.
#[derive(Clone)]
pub struct Door {
    /// None where only the router is to answer.
    rows: Option<ApiState>,
    router: Router,
}

impl From<Router> for Door {
    fn from(router: Router) -> Self {
        Self { rows: None, router }
    }
}

impl Door {
    /// The entrance to the whole API.
    #[must_use]
    pub fn new(state: ApiState) -> Self {
        Self {
            router: router(state.clone()),
            rows: Some(state),
        }
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: hyper::Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let request = request.map(Body::new);
        match &self.rows {
            Some(state) if is_of_a_row(&request) => {
                guarded(state, ROW, request, |request| row(state.clone(), request)).await
            }
            _ => match self.router.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        }
    }
}

async fn row(state: ApiState, request: Request) -> Response {
    let answered = match *request.method() {
        Method::PUT => rows::put(State(state), request).await,
        Method::DELETE => rows::delete(State(state), request).await,
        _ => rows::get(State(state), request).await,
    };
    answered.into_response()
}

/// Whether the path is that of [`ROW`] and the method one that it has a handler for. What is not
/// (`HEAD`, say) the router knows what to do with.
fn is_of_a_row(request: &Request) -> bool {
    let is_method = matches!(
        *request.method(),
        Method::GET | Method::PUT | Method::DELETE
    );
    is_method && is_row_path(request.uri().path())
}

fn is_row_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/v1/tables/") else {
        return false;
    };
    let Some((table, rest)) = rest.split_once('/') else {
        return false;
    };
    let Some(key) = rest.strip_prefix("rows/") else {
        return false;
    };
    !table.is_empty() && !key.is_empty() && !key.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rows_own_path_is_one() {
        for path in [
            "/v1/tables/t/rows/k",
            "/v1/tables/%2F/rows/a%2Fb",
            "/v1/tables/t/rows/rows",
        ] {
            assert!(is_row_path(path), "{path}");
        }
        for path in [
            "/v1/tables/t/rows",
            "/v1/tables/t/rows/",
            "/v1/tables//rows/k",
            "/v1/tables/t/rows/k/",
            "/v1/tables/t/rows/k/increment",
            "/v1/tables/t/row/k",
            "/v1/tables/t/rows//k",
            "/v2/tables/t/rows/k",
            "//v1/tables/t/rows/k",
        ] {
            assert!(!is_row_path(path), "{path}");
        }
    }
}
