//! `meridian conflicts`: conflicting writes and how they were decided.

use crate::error::CliResult;
use crate::output::{self, Format, one_line, shortened, table, thousands};
use crate::pages;
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// Of a value, so many characters are shown.
const VALUE_CHARS_MAX: usize = 32;

/// `meridian conflicts`
#[derive(Debug, Args)]
#[command(
    after_help = "A conflict is two writes to a row of which neither had seen the other. Each region records what it resolved, newest first; this asks one region. Each write is shown as the region that took it and what it wrote, shortened; of two documents, the fields in which they differ. Where fields are decided by themselves, the field and its values. Of siblings both stand. A row that PostgreSQL can't show beside another is parked; both are shown with their values, and a row whose parent is deleted or parked with that. With --output json the records are those of the region's /v1/conflicts, whole and with versions.\n\nExample:\n  meridian conflicts --limit 20"
)]
pub struct Options {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let found = pages::read(&api, "/v1/conflicts", "conflicts", options.limit)?;
    let (total, kept) = (found.figure("total"), found.figure("kept"));
    if format == Format::Json {
        return output::json(&json!({
            "region": api.name(),
            "conflicts": found.entries,
            "total": total,
            "kept": kept,
        }));
    }
    if !found.entries.is_empty() {
        let rows: Vec<_> = found.entries.iter().map(row).collect();
        let head = ["resolved at", "row", "strategy", "stands", "gave way"];
        output::line(&table(&head, &rows))?;
    }
    output::talk(&format!(
        "{} shown of {} kept, {} ever",
        thousands(found.entries.len() as u64),
        thousands(kept),
        thousands(total)
    ));
    Ok(())
}

fn row(conflict: &Value) -> Vec<String> {
    let resolved = &conflict["resolvedEvent"];
    let events = conflict["conflictingEvents"].as_array().cloned();
    let events = differing(conflict, events.unwrap_or_default());
    // Where nobody remembers a write on the side that was chosen, both have one name.
    let winner = events
        .iter()
        .position(|event| event["eventId"] == *resolved);
    let is_orphan = conflict["conflictType"] == "ForeignKeyConflict";
    let side = |is_winner: bool| {
        let places = 0..events.len();
        let place = places
            .into_iter()
            .find(|place| (Some(*place) == winner) == is_winner);
        place.map_or_else(
            || "-".to_owned(),
            |place| write(&events[place], is_orphan && is_winner),
        )
    };
    let (stands, other) = match conflict["resolutionStrategy"].as_str() {
        // Both stand, side by side.
        Some("Siblings") => (format!("{} and {}", side(true), side(false)), "-".into()),
        _ => (side(true), side(false)),
    };
    let field = conflict["field"].as_str();
    let field = field.map_or_else(String::new, |field| format!(" field {}", one_line(field)));
    vec![
        text(&conflict["resolvedAt"]),
        name(conflict) + &field,
        strategy(conflict),
        stands,
        other,
    ]
}

/// What decided, in the words of the topology and the documentation.
fn strategy(conflict: &Value) -> String {
    match conflict["resolutionStrategy"].as_str() {
        Some("LastWriterWins") => "last-writer-wins".to_owned(),
        Some("RegisterPerField") => "register-per-field".to_owned(),
        Some("AddWinsSet") => "add-wins-set".to_owned(),
        Some("Siblings") => "siblings".to_owned(),
        Some("Parked") => "parked".to_owned(),
        _ => text(&conflict["resolutionStrategy"]),
    }
}

/// The row; where it is a PostgreSQL server's, with its key by columns.
fn name(conflict: &Value) -> String {
    let Some(columns) = conflict["key"].as_object() else {
        return text(&conflict["aggregateId"]);
    };
    let columns = columns.iter().map(|(column, value)| {
        let value = value.as_str().unwrap_or("-");
        format!("{column}={value}")
    });
    let columns: Vec<_> = columns.collect();
    let id = conflict["aggregateId"].as_str().unwrap_or("-");
    let table = id.split_once('/').map_or(id, |(table, _)| table);
    one_line(&format!("{table} ({})", columns.join(", ")))
}

/// The events, without the fields in which two documents of one row are equal.
fn differing(conflict: &Value, mut events: Vec<Value>) -> Vec<Value> {
    let is_of_one_row = conflict["constraint"].is_null();
    if let [one, other] = events.as_mut_slice()
        && let (Some(one), Some(other)) =
            (one["data"].as_object_mut(), other["data"].as_object_mut())
        && is_of_one_row
        && one != other
    {
        let before = other.clone();
        other.retain(|field, value| one.get(field) != Some(value));
        one.retain(|field, value| before.get(field) != Some(value));
    }
    events
}

/// A write: who took it, and what it wrote. A parent that is there keeps its child out by being parked.
fn write(event: &Value, is_parent: bool) -> String {
    let mut region = text(&event["region"]);
    if event["aggregateId"].is_string() {
        region = format!("{region} {}", text(&event["aggregateId"]));
    }
    match &event["data"] {
        Value::Null => format!("{region}: deleted"),
        _ if is_parent => format!("{region}: parked itself"),
        data => format!("{region}: {}", shortened(data, VALUE_CHARS_MAX)),
    }
}

fn text(value: &Value) -> String {
    one_line(value.as_str().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(strategy: &str) -> Value {
        json!({
            "conflictType": "UpdateDeleteConflict",
            "aggregateId": "orders/1",
            "conflictingEvents": [
                {"eventId": "1-a", "region": "us-east-1", "data": {"item": "tea"}},
                {"eventId": "2-b", "region": "eu-west-1", "data": null},
            ],
            "resolutionStrategy": strategy,
            "resolvedEvent": "1-a",
            "resolvedAt": "2026-01-01T00:00:00Z",
        })
    }

    #[test]
    fn each_side_is_a_region_and_what_it_wrote() {
        let shown = row(&conflict("LastWriterWins"));
        let expected = [
            "orders/1",
            "last-writer-wins",
            r#"us-east-1: {"item":"tea"}"#,
            "eu-west-1: deleted",
        ];
        assert_eq!(shown[1..], expected);
    }

    #[test]
    fn a_field_is_named_and_a_long_value_cut() {
        let mut conflict = conflict("RegisterPerField");
        conflict["field"] = "note".into();
        conflict["conflictingEvents"][0]["data"] = "x".repeat(100).into();
        let shown = row(&conflict);
        assert_eq!(shown[1], "orders/1 field note");
        assert_eq!(shown[2], "register-per-field");
        let cut = format!("us-east-1: \"{}…", "x".repeat(VALUE_CHARS_MAX - 1));
        assert_eq!(shown[3], cut);
    }

    #[test]
    fn of_two_documents_what_differs_is_shown() {
        let mut conflict = conflict("LastWriterWins");
        conflict["conflictingEvents"][0]["data"] = json!({"id": "7", "city": "Rome"});
        conflict["conflictingEvents"][1]["data"] = json!({"id": "7", "city": "Oslo"});
        conflict["key"] = json!({"id": "7"});
        let shown = row(&conflict);
        let expected = [
            "orders (id=7)",
            "last-writer-wins",
            r#"us-east-1: {"city":"Rome"}"#,
            r#"eu-west-1: {"city":"Oslo"}"#,
        ];
        assert_eq!(shown[1..], expected);
    }

    #[test]
    fn of_two_rows_the_other_is_named_and_both_are_whole() {
        let mut conflict = conflict("Parked");
        conflict["constraint"] = "users_email_key".into();
        conflict["conflictingEvents"][0]["aggregateId"] = "orders/2".into();
        conflict["conflictingEvents"][1]["data"] = json!({"item": "tea"});
        let shown = row(&conflict);
        let expected = [
            r#"us-east-1 orders/2: {"item":"tea"}"#,
            r#"eu-west-1: {"item":"tea"}"#,
        ];
        assert_eq!(shown[3..], expected);
    }

    #[test]
    fn a_parent_that_is_there_is_parked_itself() {
        let mut conflict = conflict("Parked");
        conflict["conflictType"] = "ForeignKeyConflict".into();
        conflict["constraint"] = "lines_order_fkey".into();
        conflict["resolvedEvent"] = "2-b".into();
        conflict["conflictingEvents"][1]["aggregateId"] = "orders/2".into();
        assert_eq!(row(&conflict)[3], "eu-west-1 orders/2: deleted");
        conflict["conflictingEvents"][1]["data"] = json!({"item": "tea"});
        let shown = row(&conflict);
        let expected = [
            "eu-west-1 orders/2: parked itself",
            r#"us-east-1: {"item":"tea"}"#,
        ];
        assert_eq!(shown[3..], expected);
    }

    #[test]
    fn siblings_both_stand() {
        let shown = row(&conflict("Siblings"));
        let both = r#"us-east-1: {"item":"tea"} and eu-west-1: deleted"#;
        assert_eq!(shown[3..], [both, "-"]);
    }
}
