//! `meridian postgres parked list`: what every region says, by row.

use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, one_line, shortened, table, thousands};
use crate::pages;
use crate::status::none_answers;
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of a row's values, so many characters are shown.
const VALUES_CHARS_MAX: usize = 60;
const HEAD: [&str; 5] = ["row", "regions", "why", "values", "in its way"];

/// `meridian postgres parked list`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks every region. With --output json {\"parked\": [...], \"regions\": [...]}: each row as the first region says that has it parked (/v1/parked), with \"regions\" that have and \"everywhere\" if all do, and for each region how many it has or why it can't say. Exit code 3 if no region answers.\n\nExample:\n  meridian postgres parked list --refused"
)]
pub struct Options {
    /// How many of each region at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Only rows that a server refuses by themselves
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    target: Target,
}

/// A row, and the regions that have it parked.
#[derive(Debug)]
struct Parked {
    row: Value,
    regions: Vec<String>,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let regions = options.target.all_by_name()?;
    let read = |api: &Api| pages::read(api, "/v1/parked", "parked", options.limit);
    let replies: Vec<CliResult<pages::Pages>> = regions.iter().map(read).collect();
    let mut rows: BTreeMap<[String; 3], Parked> = BTreeMap::new();
    for (api, reply) in regions.iter().zip(&replies) {
        for row in reply.iter().flat_map(|pages| &pages.entries) {
            if options.refused && row["reason"] != "refused" {
                continue;
            }
            let name = ["dataset", "table", "key"].map(|name| text(row, name));
            let parked = rows.entry(name).or_insert_with(|| Parked {
                row: row.clone(),
                regions: Vec::new(),
            });
            parked.regions.push(api.name().to_owned());
        }
    }
    let rows: Vec<Parked> = rows.into_values().collect();
    match format {
        Format::Json => {
            let said = regions.iter().zip(&replies).map(|(api, reply)| {
                json!({
                    "region": api.name(),
                    "total": reply.as_ref().ok().map(|pages| pages.figure("total")),
                    "refused": reply.as_ref().ok().map(|pages| pages.figure("refused")),
                    "error": reply.as_ref().err().map(CliError::message),
                })
            });
            let said: Vec<_> = said.collect();
            let rows: Vec<_> = rows.iter().map(|it| it.json(regions.len())).collect();
            output::json(&json!({"parked": rows, "regions": said}))?;
        }
        Format::Text => {
            if !rows.is_empty() {
                let lines: Vec<_> = rows.iter().map(|it| it.line(regions.len())).collect();
                output::line(&table(&HEAD, &lines))?;
            }
            for (api, reply) in regions.iter().zip(&replies) {
                output::talk(&match reply {
                    Ok(pages) => format!(
                        "{}: {} parked, {} of these refused by its server",
                        api.name(),
                        thousands(pages.figure("total")),
                        thousands(pages.figure("refused"))
                    ),
                    Err(error) => format!("{}: {}", api.name(), error.message()),
                });
            }
        }
    }
    none_answers(replies.iter())
}

impl Parked {
    fn is_everywhere(&self, regions: usize) -> bool {
        self.regions.len() == regions
    }

    fn json(&self, regions: usize) -> Value {
        let mut row = self.row.clone();
        row["regions"] = self.regions.clone().into();
        row["everywhere"] = self.is_everywhere(regions).into();
        row
    }

    fn line(&self, regions: usize) -> Vec<String> {
        let other = ["rival", "parent"].map(|name| &self.row[name]);
        let other = other.into_iter().find(|other| !other.is_null());
        let is_refused = self.row["reason"] == "refused";
        vec![
            format!("{}/{}", text(&self.row, "table"), text(&self.row, "key")),
            match self.is_everywhere(regions) {
                true if is_refused => "all: a dead letter".to_owned(),
                true => "all".to_owned(),
                false => self.regions.join(", "),
            },
            one_line(&match self.row["constraint"].as_str() {
                Some(constraint) => constraint.to_owned(),
                None => text(&self.row, "detail"),
            }),
            one_line(&shortened(&self.row["values"], VALUES_CHARS_MAX)),
            other.map_or_else(|| "-".to_owned(), in_its_way),
        ]
    }
}

fn in_its_way(other: &Value) -> String {
    let name = format!("{}/{}", text(other, "table"), text(other, "key"));
    one_line(&match &other["values"] {
        Value::Null => format!("{name} isn't there"),
        _ if other["parked"] == true => format!("{name} is parked itself"),
        values => format!("{name} {}", shortened(values, VALUES_CHARS_MAX)),
    })
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_in_the_way_and_where() {
        let row = json!({"dataset": "shop", "table": "public.users", "key": "1", "reason": "unique",
            "constraint": "users_email_key", "values": {"id": "1"}, "parent": null,
            "rival": {"table": "public.users", "key": "2", "values": {"id": "2"}}});
        let parked = Parked {
            row,
            regions: vec!["eu-west-1".to_owned()],
        };
        let expected = [
            "public.users/1",
            "eu-west-1",
            "users_email_key",
            r#"{"id":"1"}"#,
            r#"public.users/2 {"id":"2"}"#,
        ];
        assert_eq!(parked.line(2), expected);
        assert_eq!(parked.line(1)[1], "all");
        assert_eq!(parked.json(2)["everywhere"], false);
    }

    #[test]
    fn what_every_server_refuses_is_a_dead_letter() {
        let row = json!({"dataset": "shop", "table": "public.t", "key": "1", "reason": "refused",
            "detail": "the server refuses it: no", "values": {}});
        let regions = vec!["a".to_owned(), "b".to_owned()];
        let parked = Parked { row, regions };
        assert_eq!(parked.line(2)[1], "all: a dead letter");
        assert_eq!(parked.line(2)[4], "-");
        assert_eq!(parked.line(3)[1], "a, b");
    }
}
