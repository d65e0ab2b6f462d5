//! Whether a table is there. A table comes into being with its first row and needs no declaration,
//! so a region answers for a misspelt one as for one without rows; a person who asks for it is
//! better told.
//!
//! A table is there if it has rows, or if the topology names it.

use crate::client::Api;
use crate::error::{CliError, CliResult, Exit};
use meridian_topology::{did_you_mean, nearest};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tables {
    datasets: Vec<OfDataset>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OfDataset {
    dataset: String,
    tables: Vec<String>,
    declared: Vec<String>,
    out_of_sight: Vec<String>,
    error: Option<String>,
}

/// An error if none of the regions has the table, or none finds its rows, or one can't tell because a
/// dataset isn't open there. A region that says nothing is taken to have it.
pub fn check(apis: &[Api], table: &str) -> CliResult {
    let mut found = Vec::new();
    for api in apis {
        let Some(datasets) = tables(api)? else {
            return Ok(());
        };
        found.extend(datasets.into_iter().map(|it| (api, it)));
    }
    let has = |names: &[String]| names.iter().any(|name| name == table);
    if found.iter().any(|(_, it)| has(&it.tables)) {
        return Ok(());
    }
    if let Some((api, it)) = found.iter().find(|(_, it)| has(&it.out_of_sight)) {
        return Err(out_of_sight(api, table, &it.dataset));
    }
    if found.iter().any(|(_, it)| has(&it.declared)) {
        return Ok(());
    }
    let mut datasets = found.iter();
    if let Some((api, it, reason)) =
        datasets.find_map(|(api, it)| Some((api, it, it.error.as_ref()?)))
    {
        return Err(CliError::failure(format!(
            "table {table:?} can't be looked for in {}: dataset {}: {reason}",
            api.place(),
            it.dataset
        )));
    }
    let names = found.into_iter();
    let names = names.flat_map(|(_, it)| it.tables.into_iter().chain(it.declared));
    let names: BTreeSet<String> = names.collect();
    let place = match apis {
        [api] => api.place(),
        _ => "any region".to_owned(),
    };
    let error = CliError::new(
        Exit::NotFound,
        format!("there is no table {table:?} in {place}"),
    );
    Err(error.hint(hint(table, &names)))
}

fn out_of_sight(api: &Api, table: &str, dataset: &str) -> CliError {
    let message = format!(
        "the rows of table {table:?} in {} are in dataset {dataset}, to which the table doesn't belong \
         any more",
        api.place()
    );
    CliError::new(Exit::NotFound, message).hint(format!(
        "in the topology give the table back to dataset {dataset}; to move it, export its rows before \
         the change and import them after"
    ))
}

fn tables(api: &Api) -> CliResult<Option<Vec<OfDataset>>> {
    let reply = api.get_as_it_is("/v1/tables")?;
    if !reply.is_success() {
        return Ok(None);
    }
    let found: Tables = reply.read()?;
    Ok(Some(found.datasets))
}

/// What to do about a table that isn't there, where these are.
pub fn hint(table: &str, names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "no table has rows yet; `meridian tables put TABLE KEY DOCUMENT` writes one"
            .to_owned();
    }
    let names = names.iter().map(String::as_str);
    let hint = did_you_mean(table, "tables", names.clone());
    match nearest(table, names) {
        Some(_) => hint,
        None => format!("{hint}; a table is there once it has a row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Address;
    use crate::test_region::region;
    use serde_json::{Value, json};
    use std::time::Duration;

    /// What is said of the table `t` where each region says this of its datasets.
    fn said(regions: &[Value]) -> Result<(), String> {
        let apis = regions.iter().map(|datasets| {
            let reply = json!({ "datasets": datasets });
            let address = Address {
                url: region(move || (200, reply.clone())),
                ..Address::default()
            };
            Api::new(address, Duration::from_secs(30)).unwrap()
        });
        let apis: Vec<Api> = apis.collect();
        check(&apis, "t").map_err(|error| error.message().to_owned())
    }

    #[test]
    fn one_region_that_has_the_table_is_enough() {
        let has = json!([{"dataset": "main", "tables": ["t"]}]);
        let declares = json!([{"dataset": "main", "declared": ["t"]}]);
        let elsewhere = json!([{"dataset": "main", "out_of_sight": ["t"]}]);
        let failed = json!([{"dataset": "main", "error": "damaged"}]);
        assert_eq!(said(&[failed.clone(), has.clone()]), Ok(()));
        assert_eq!(said(&[elsewhere.clone(), has]), Ok(()));
        assert_eq!(said(&[failed.clone(), declares.clone()]), Ok(()));
        let of = |regions: &[Value]| said(regions).unwrap_err();
        assert!(of(&[declares, elsewhere]).contains("are in dataset main"));
        assert!(of(&[failed]).ends_with("dataset main: damaged"));
        assert!(of(&[json!([])]).starts_with("there is no table"));
    }

    #[test]
    fn where_no_name_is_near_it_says_when_a_table_is_there() {
        let names = ["carts", "orders"].map(str::to_owned).into();
        let near = "did you mean \"orders\"? the tables are carts, orders";
        assert_eq!(hint("ordres", &names), near);
        assert!(hint("stock", &names).ends_with("once it has a row"));
    }

    #[test]
    fn without_tables_there_is_a_way_to_the_first() {
        assert!(hint("orders", &BTreeSet::new()).contains("tables put"));
    }
}
