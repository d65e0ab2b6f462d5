//! `meridian tables compare`: whether regions hold the same rows, row by row, and mending those that
//! don't.
//!
//! One region compares itself with all others, which finds every difference between any two: two
//! that differ can't both be equal to a third. To mend, every region is asked to, since each mends
//! its own copies only; then one compares again.

use super::known;
use super::rows::row_path;
use crate::client::Api;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format, shortened, table, thousands};
use crate::target::Target;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);
/// Rows that differ whose values are shown.
const SHOWN_MAX: usize = 20;
/// Of a value, so many characters.
const VALUE_CHARS_MAX: usize = 60;

/// `meridian tables compare`
#[derive(Debug, Args)]
#[command(
    after_help = "A row differs if it does once both regions have applied all that either had; writes on their way are no differences. Exit code 0 if no row differs, or none does any more; 1 if some do, or a region could not be compared; 4 if no region has a table, or the row that --prefer names.\n\nExamples:\n  meridian tables compare\n  meridian tables compare orders --repair\n  meridian tables compare --repair --prefer eu-west-1 orders 17"
)]
pub struct Options {
    /// The tables [default: all]
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Mend bad copies: each region takes the good copy of a row where it can be told which that is
    #[arg(long)]
    repair: bool,
    /// Decide about a row that nothing else decides: this region's copy is right, deleted or not
    #[arg(
        long,
        num_args = 3,
        value_names = ["REGION", "TABLE", "KEY"],
        requires = "repair",
        conflicts_with = "tables"
    )]
    prefer: Option<Vec<String>>,
    #[command(flatten)]
    target: Target,
}

/// A comparison as a region shows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Comparison {
    id: u64,
    region: String,
    done: bool,
    datasets: Vec<Dataset>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Dataset {
    dataset: String,
    rows: u64,
    found: u64,
    mended: u64,
    unmended: u64,
    theirs: u64,
    left: u64,
    busy: u64,
    incomplete: BTreeMap<String, String>,
    error: Option<String>,
    differences: Vec<Difference>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Difference {
    table: String,
    key: String,
    verdict: String,
    good: Option<String>,
    mended: bool,
    copies: Vec<Copy>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Copy {
    region: String,
    holds: String,
    version: Option<String>,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let apis = options.target.all()?;
    for table in &options.tables {
        known::check(&apis, table)?;
    }
    if let Some([_, table, key]) = options.prefer.as_deref() {
        known::check(&apis, table)?;
        is_there(&apis, table, key)?;
    }
    let mended = if options.repair {
        compare(&apis, &options.order(true))?
    } else {
        Vec::new()
    };
    let first = &apis[..1];
    let checked = compare(first, &options.order(false))?;
    let troubles = troubles(&checked);
    let values = values(&apis, &checked)?;
    match format {
        Format::Json => output::json(&json!({
            "equal": troubles.is_empty(),
            "mended": mended,
            "compared": checked,
            "values": values,
        }))?,
        Format::Text => print(&mended, &checked, &values)?,
    }
    if troubles.is_empty() {
        return Ok(());
    }
    let differ = checked.iter().flat_map(|it| &it.datasets);
    let hint = if differ.map(|dataset| dataset.found).sum::<u64>() == 0 {
        "compare again once the regions reach each other and can read their tables; \
         `meridian replication status` shows how they do"
    } else if options.repair {
        "what no rule decides waits for you: `meridian tables compare --repair --prefer REGION TABLE KEY`"
    } else {
        "`meridian tables compare --repair` mends what can be mended"
    };
    Err(CliError::failure(troubles.join("; ")).hint(hint))
}

/// What comparing regions' tables came to, for other verbs.
pub struct Between {
    /// As the regions told it.
    pub report: Value,
    /// What is not as it should be.
    pub troubles: Vec<String>,
    /// Whether rows differ.
    pub differ: bool,
}

/// Compares the tables of these datasets between regions, all of them where none is named; with `repair`
/// each region mends its own bad copies first.
pub fn between(
    apis: &[Api],
    datasets: &BTreeSet<String>,
    tables: &[String],
    repair: bool,
) -> CliResult<Between> {
    let order = |repair: bool| json!({ "tables": tables, "repair": repair });
    if repair {
        compare(apis, &order(true))?;
    }
    let mut checked = compare(&apis[..1], &order(false))?;
    for comparison in &mut checked {
        let all = &mut comparison.datasets;
        all.retain(|dataset| datasets.contains(&dataset.dataset));
    }
    let mut datasets = checked.iter().flat_map(|comparison| &comparison.datasets);
    Ok(Between {
        differ: datasets.any(|dataset| dataset.found > 0),
        troubles: troubles(&checked),
        report: json!(checked),
    })
}

impl Options {
    fn order(&self, repair: bool) -> Value {
        match self.prefer.as_deref() {
            Some([region, table, key]) => {
                let rows = json!([{ "table": table, "key": key }]);
                if repair {
                    json!({ "rows": rows, "repair": true, "prefer": region })
                } else {
                    json!({ "rows": rows })
                }
            }
            _ => json!({ "tables": self.tables, "repair": repair }),
        }
    }
}

/// An error if every region says that it has no such row. One of which a region can't tell is compared.
fn is_there(apis: &[Api], table: &str, key: &str) -> CliResult {
    for api in apis {
        let reply = api.get_as_it_is(&row_path(table, key))?;
        if reply.status != 404 || !reply.problem().ends_with("row-not-found") {
            return Ok(());
        }
    }
    let place = match apis {
        [api] => api.place(),
        _ => "any region".to_owned(),
    };
    let message = format!("there is no row {key:?} in table {table} of {place}");
    Err(CliError::new(Exit::NotFound, message)
        .hint(format!("`meridian tables list {table}` lists the rows")))
}

/// Lets each region compare at the same time, and waits for all.
fn compare(apis: &[Api], order: &Value) -> CliResult<Vec<Comparison>> {
    let body = order.to_string();
    let begun = apis.iter().map(|api| {
        let reply = api.send("POST", "/v1/integrity/comparisons", body.as_bytes())?;
        reply.json::<Comparison>()
    });
    let mut comparisons: Vec<Comparison> = begun.collect::<CliResult<_>>()?;
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid");
    let spinner = ProgressBar::new_spinner().with_style(style);
    while comparisons.iter().any(|comparison| !comparison.done) {
        std::thread::sleep(POLL);
        for (api, comparison) in apis.iter().zip(&mut comparisons) {
            if !comparison.done {
                let path = format!("/v1/integrity/comparisons?id={}", comparison.id);
                *comparison = api.get(&path)?.json()?;
            }
        }
        let datasets = comparisons
            .iter()
            .flat_map(|comparison| &comparison.datasets);
        let rows = datasets.clone().map(|dataset| dataset.rows).sum();
        let found = datasets.map(|dataset| dataset.found).sum();
        spinner.set_message(format!(
            "{} rows compared, {} differ",
            thousands(rows),
            thousands(found)
        ));
        spinner.tick();
    }
    spinner.finish_and_clear();
    Ok(comparisons)
}

/// What is not as it should be. Whatever went wrong on the way, it is the last comparison that counts.
fn troubles(checked: &[Comparison]) -> Vec<String> {
    let mut troubles = Vec::new();
    for comparison in checked {
        for dataset in &comparison.datasets {
            let name = &dataset.dataset;
            if dataset.found > 0 {
                let differ = thousands(dataset.found);
                troubles.push(format!(
                    "{differ} rows of dataset {name} differ between regions"
                ));
            }
        }
    }
    for comparison in checked {
        for dataset in &comparison.datasets {
            let (name, region) = (&dataset.dataset, &comparison.region);
            let place = format!("dataset {name} of region {region} was not compared to the end");
            if let Some(error) = &dataset.error {
                troubles.push(format!("{place}: {error}"));
            }
            for (peer, reason) in &dataset.incomplete {
                troubles.push(format!("{place} with {peer}: {reason}"));
            }
        }
    }
    troubles
}

/// Per row that differs and region, the document that it shows.
fn values(apis: &[Api], checked: &[Comparison]) -> CliResult<Vec<Value>> {
    let datasets = checked.iter().flat_map(|comparison| &comparison.datasets);
    let differences = datasets.flat_map(|dataset| &dataset.differences);
    let differences: Vec<_> = differences.take(SHOWN_MAX).collect();
    if differences.is_empty() {
        return Ok(Vec::new());
    }
    let apis = apis.iter().map(|api| Ok((region_of(api)?, api)));
    let apis = apis.collect::<CliResult<Vec<_>>>()?;
    let shown = differences.into_iter().map(|difference| {
        let Difference { table, key, .. } = difference;
        let path = row_path(table, key);
        let mut regions = BTreeMap::new();
        for (region, api) in &apis {
            // Reading a damaged row would mend it, which was perhaps not asked for.
            let is_readable = |copy: &Copy| copy.region == *region && copy.holds == "row";
            if !difference.copies.iter().any(is_readable) {
                continue;
            }
            let reply = api.get_as_it_is(&path)?;
            let document = reply.is_success().then_some(reply.body);
            let document = document.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
            regions.insert(region.clone(), document);
        }
        Ok(json!({ "table": table, "key": key, "documents": regions }))
    });
    shown.collect()
}

/// The region's own name, by whatever URL it was found.
fn region_of(api: &Api) -> CliResult<String> {
    let told: Value = api.get("/v1/integrity")?.json()?;
    Ok(told["region"].as_str().unwrap_or(api.name()).to_owned())
}

fn print(mended: &[Comparison], checked: &[Comparison], values: &[Value]) -> CliResult {
    let row = |comparison: &Comparison, dataset: &Dataset| {
        vec![
            comparison.region.clone(),
            dataset.dataset.clone(),
            thousands(dataset.rows),
            thousands(dataset.found),
            thousands(dataset.mended),
        ]
    };
    let shown = if mended.is_empty() { checked } else { mended };
    let rows: Vec<_> = shown
        .iter()
        .flat_map(|comparison| {
            let datasets = comparison.datasets.iter();
            datasets.map(|dataset| row(comparison, dataset))
        })
        .collect();
    let head = ["region", "dataset", "rows", "differed", "mended"];
    output::line(&table(&head, &rows))?;
    let datasets = checked.iter().flat_map(|comparison| &comparison.datasets);
    let differences: Vec<_> = datasets
        .clone()
        .flat_map(|dataset| &dataset.differences)
        .collect();
    if !differences.is_empty() {
        output::line("")?;
        output::line(&table(
            &["table", "key", "region", "holds", "version", "document"],
            &copies(&differences, values),
        ))?;
        let found: u64 = datasets.map(|dataset| dataset.found).sum();
        if found > differences.len() as u64 {
            let more = found - differences.len() as u64;
            output::talk(&format!("{} more are not listed", thousands(more)));
        }
    }
    Ok(())
}

fn copies(differences: &[&Difference], values: &[Value]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (index, difference) in differences.iter().enumerate() {
        for copy in &difference.copies {
            let value = values.get(index).map(|row| &row["documents"][&copy.region]);
            let document = value.filter(|value| !value.is_null());
            let document = document.map(|value| shortened(value, VALUE_CHARS_MAX));
            rows.push(vec![
                difference.table.clone(),
                difference.key.clone(),
                copy.region.clone(),
                copy.holds.clone(),
                copy.version.clone().unwrap_or_else(|| "-".to_owned()),
                document.unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::test_region::answering;

    /// What comes of deciding about row `k` of table `t` where regions answer so for it.
    fn preferred(rows: [u16; 2]) -> CliResult {
        let urls = rows.map(|row| {
            answering(move |request| match request {
                "GET /v1/tables" => (200, json!({"datasets": [{"tables": ["t"]}]})),
                "GET /v1/tables/t/rows/k" => (row, json!({"type": "/problems/row-not-found"})),
                "POST /v1/integrity/comparisons" => (
                    200,
                    json!({"id": 1, "region": "a", "done": true, "datasets": []}),
                ),
                _ => (404, json!({})),
            })
        });
        let prefer = ["a", "t", "k"].map(str::to_owned);
        let options = Options {
            tables: Vec::new(),
            repair: true,
            prefer: Some(prefer.into()),
            target: Target {
                api: urls.into(),
                ..Target::default()
            },
        };
        run(&options, Format::Json)
    }

    #[test]
    fn a_row_that_no_region_has_is_said_not_to_be_there() {
        let error = preferred([404, 404]).unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
        assert_eq!(
            error.message(),
            "there is no row \"k\" in table t of any region"
        );
        for there in [[200, 404], [404, 300], [404, 503]] {
            preferred(there).unwrap();
        }
    }

    fn comparison(change: impl FnOnce(&mut Dataset)) -> Comparison {
        let mut dataset = Dataset {
            dataset: "main".to_owned(),
            rows: 3,
            found: 0,
            mended: 0,
            unmended: 0,
            theirs: 0,
            left: 0,
            busy: 0,
            incomplete: BTreeMap::new(),
            error: None,
            differences: Vec::new(),
        };
        change(&mut dataset);
        Comparison {
            id: 1,
            region: "a".to_owned(),
            done: true,
            datasets: vec![dataset],
        }
    }

    #[test]
    fn regions_that_agree_are_no_trouble() {
        assert!(troubles(&[comparison(|_| {})]).is_empty());
    }

    #[test]
    fn what_differs_still_or_was_not_compared_is() {
        let differs = comparison(|dataset| dataset.found = 1);
        let found = troubles(&[differs]);
        assert_eq!(found, ["1 rows of dataset main differ between regions"]);
        let unreachable = comparison(|dataset| {
            dataset
                .incomplete
                .insert("b".to_owned(), "it is away".to_owned());
        });
        let found = troubles(&[unreachable]);
        assert_eq!(
            found,
            ["dataset main of region a was not compared to the end with b: it is away"]
        );
    }
}
