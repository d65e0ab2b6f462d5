//! Adding members to a field that is a set, and removing others.

use super::documents;
use super::incoming::Incoming;
use super::problem::{Kind, Problem};
use super::rows;
use super::state::ApiState;
use super::writes::{self, Write};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_engine_kv::{Action, canonical};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;
use utoipa::ToSchema;

/// Which field gains and loses which members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersChange {
    /// The field of the row's document; a missing one starts empty.
    field: String,
    /// What is added: any JSON, each the same where its JSON is.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>)]
    add: Texts,
    /// What is removed, as far as it was seen here. Nothing may be in both.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>)]
    remove: Texts,
}

/// Canonical texts of an array's items, each once: read one by one, so that a long array of the
/// same costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Texts(BTreeSet<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of members")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let mut texts = BTreeSet::new();
        while let Some(item) = items.next_element::<serde_json::Value>()? {
            texts.insert(canonical(&item));
        }
        Ok(Texts(texts))
    }
}

/// The action, where it says one thing of each member.
pub(crate) fn action(field: String, add: Texts, remove: Texts) -> Result<Action, Problem> {
    documents::check_field(&field)?;
    let (add, remove) = (add.0, remove.0);
    if add.is_empty() && remove.is_empty() {
        return Err(Problem::new(
            Kind::BadBody,
            "there is nothing to add and nothing to remove",
        )
        .hint("give add, remove or both, as arrays"));
    }
    if let Some(both) = add.intersection(&remove).next() {
        return Err(Problem::new(
            Kind::BadBody,
            format!("{both} is to be added and to be removed"),
        ));
    }
    Ok(Action::Members {
        field,
        add: add.into_iter().collect(),
        remove: remove.into_iter().collect(),
    })
}

/// Adds and removes members of a set; an addition that a removal had not seen survives it, in
/// other regions too.
#[utoipa::path(
    post,
    path = "/v1/tables/{table}/rows/{key}/members",
    tag = "rows",
    params(
        ("table" = String, Path, description = "The table."),
        ("key" = String, Path, description = "The row's key, percent-encoded; a missing row starts empty."),
        ("If-Match" = Option<String>, Header, description = "The versions that may be changed."),
        ("If-None-Match" = Option<String>, Header, description = "The versions that may not."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    request_body = MembersChange,
    responses(
        (status = 200, description = "The row's document now, the set as a sorted array; null where \
            there was nothing to remove from.", body = serde_json::Value,
            headers(("ETag" = String), ("Meridian-Session" = String), ("Idempotency-Replayed" = String))),
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn change(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let (table, key) = (incoming.table()?.into_owned(), incoming.key()?.into_owned());
    let target = state.target(&table)?;
    let mut write = Write::read(&state, &mut incoming, target.members_bytes_max()).await?;
    let text = documents::text(std::mem::take(&mut write.body))?;
    let MembersChange { field, add, remove } = documents::object(&text)?;
    drop(text);
    let action = action(field, add, remove)?;
    let transaction = rows::of_row(incoming.headers(), table, key, action, &mut write)?;
    writes::execute(target.dataset, &write.session, transaction, |outcome| {
        let mut response = rows::written(outcome)?;
        // As with increments: that it created the row shows in nothing.
        *response.status_mut() = StatusCode::OK;
        Ok(response)
    })
    .await
}
