//! Writes that stand, though fewer regions are known to hold them than the dataset promises.

use super::json::{Json, reply};
use axum::body::to_bytes;
use axum::http::{StatusCode, header};
use axum::response::Response;
use meridian_replicate::Shortfall;
use utoipa::{IntoResponses, ToSchema};

/// Why a write is answered 202: it is done, and too few regions are known to hold it yet.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct Accepted {
    /// The status that it would have had: 200, 201 or 204.
    status: u16,
    /// The dataset's acknowledgement.
    acknowledgement: String,
    /// How many regions were to hold it, this one included.
    needed: usize,
    /// The other regions that are known to hold it.
    holders: Vec<String>,
    /// What happened, for people.
    reason: String,
    /// What can be done about it.
    hint: String,
    /// The body that the reply would have had; null where it would have had none.
    reply: serde_json::Value,
}

/// A write that other regions have not confirmed in time.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum Unconfirmed {
    /// The write is done and durable in its region, and will reach the others; within
    /// `acknowledgement-timeout` fewer of them confirmed it than the dataset's `acknowledgement`
    /// asks for. Headers are those that the reply would have had.
    #[response(status = 202)]
    Accepted(#[to_schema] Accepted),
}

/// The reply to a write with such a shortfall.
pub(crate) async fn accepted(response: Response, shortfall: &Shortfall) -> Response {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut json = Json::default();
    json.raw("{\"status\":").raw(parts.status.as_str());
    json.raw(",\"acknowledgement\":")
        .string(shortfall.level.name());
    json.raw(",\"needed\":").raw(&shortfall.needed.to_string());
    json.raw(",\"holders\":");
    json.list(&shortfall.holders, |json, holder| {
        json.string(holder.as_str());
    });
    json.raw(",\"reason\":").string(&reason(shortfall));
    json.raw(",\"hint\":").string(
        "the write stands and will reach the other regions; until then it is lost if this region's \
         disk is. /v1/replication shows which regions are away",
    );
    let shown = std::str::from_utf8(&body).ok().filter(|it| !it.is_empty());
    json.raw(",\"reply\":").document(shown).raw("}");
    let mut accepted = reply(StatusCode::ACCEPTED, json.into_bytes());
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            accepted.headers_mut().insert(name, value.clone());
        }
    }
    accepted
}

fn reason(shortfall: &Shortfall) -> String {
    format!(
        "within {} ms, {} of {} other regions confirmed that they hold the write",
        shortfall.waited.as_millis(),
        shortfall.holders.len(),
        shortfall.needed.saturating_sub(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Acknowledgement, RegionName};
    use serde_json::{Value, json};
    use std::time::Duration;

    async fn body(response: Response) -> Value {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn what_was_done_is_in_it_whole() {
        let shortfall = Shortfall {
            level: Acknowledgement::Majority,
            needed: 3,
            holders: vec![RegionName::new("b")],
            waited: Duration::from_millis(1500),
        };
        let mut response = reply(StatusCode::CREATED, r#"{"a":1}"#);
        let tag = header::HeaderValue::from_static("\"1-2\"");
        response.headers_mut().insert(header::ETAG, tag);
        let accepted = accepted(response, &shortfall).await;
        assert_eq!(accepted.status(), StatusCode::ACCEPTED);
        assert_eq!(accepted.headers()[header::ETAG], "\"1-2\"");
        let body = body(accepted).await;
        assert_eq!(body["status"], 201);
        assert_eq!(body["reply"], json!({ "a": 1 }));
        assert_eq!(body["holders"], json!(["b"]));
        let reason = "within 1500 ms, 1 of 2 other regions confirmed that they hold the write";
        assert_eq!(body["reason"], reason);
    }

    #[tokio::test]
    async fn a_reply_without_a_body_is_null() {
        let shortfall = Shortfall {
            level: Acknowledgement::OneRemote,
            needed: 2,
            holders: Vec::new(),
            waited: Duration::from_secs(2),
        };
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let body = body(accepted(response, &shortfall).await).await;
        assert_eq!(
            (&body["status"], &body["reply"]),
            (&json!(204), &Value::Null)
        );
    }
}
