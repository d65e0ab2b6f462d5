//! What every request passes: the token, where one is asked for, and the counters.

use super::incoming::Incoming;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use super::witness::misdirected;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::time::Instant;

/// Lets a request through if it may pass, and counts it.
pub(crate) async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", route_class);
    guarded(&state, route, request, |request| next.run(request)).await
}

/// Has `answer` see to a request of this route if it may pass, and counts it.
pub(crate) async fn guarded<A: Future<Output = Response>>(
    state: &ApiState,
    route: &'static str,
    request: Request,
    answer: impl FnOnce(Request) -> A,
) -> Response {
    let started = Instant::now();
    let unauthorized = refusal(state, route, request.headers());
    let response = match unauthorized.or_else(|| misdirected(state, route)) {
        Some(problem) => {
            // Reads the body away, so that the client sees the reply.
            drop(Incoming::new(request));
            problem.into_response()
        }
        None => answer(request).await,
    };
    if is_load(route) {
        state.api().steering.load_meter().count();
    }
    state
        .http()
        .count(route, response.status().as_u16(), started.elapsed());
    response
}

/// Whether a request counts among what clients ask of the region.
fn is_load(route: &str) -> bool {
    route.starts_with("/v1/tables") || route.starts_with("/v1/transactions")
}

fn refusal(state: &ApiState, route: &str, headers: &HeaderMap) -> Option<Problem> {
    let token = state.api().token.as_deref()?;
    if matches!(route, "/livez" | "/readyz")
        || sent_token(headers).is_some_and(|sent| same(sent, token))
    {
        return None;
    }
    let problem = Problem::new(Kind::Unauthorized, "the request carries no valid token");
    Some(
        problem
            .hint("send the token of the region's token file as `Authorization: Bearer TOKEN`")
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
    )
}

fn sent_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Compares in a time that tells nothing but the lengths.
fn same(sent: &str, token: &str) -> bool {
    let difference = sent
        .bytes()
        .zip(token.bytes())
        .fold(0, |seen, (one, other)| seen | (one ^ other));
    sent.len() == token.len() && difference == 0
}

/// The route's template: few values, whatever clients ask for.
fn route_class(path: &MatchedPath) -> &'static str {
    let known = super::routes::PATHS
        .iter()
        .find(|known| **known == path.as_str());
    known.copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_same_only_as_a_whole() {
        assert!(same("secret", "secret"));
        assert!(!same("secre", "secret"));
        assert!(!same("secreT", "secret"));
        assert!(!same("", "secret"));
    }
}
