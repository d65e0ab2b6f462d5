//! Meridian's own objects in a server: the schema, the table with positions, the publication.

use super::finding::{Finding, Status};
use super::judge::{Plan, replicable};
use super::survey::{Publication, Survey};
use crate::apply::{PARKED_TABLE_SQL, POSITION_TABLE_SQL};
use crate::catalog::{TableFacts, TableName, quoted};
use crate::names::{self, SCHEMA};
use std::collections::BTreeSet;

pub(super) fn check(survey: &Survey, plan: &Plan, tables: &[&TableFacts]) -> Vec<Finding> {
    vec![position(survey, plan), publication(survey, plan, tables)]
}

/// Whether the publication is to be made or altered, so that it has exactly the tables that replicate.
#[must_use]
pub fn alters_publication(survey: &Survey, plan: &Plan) -> bool {
    publication(survey, plan, &replicable(survey, plan)).status == Status::Sql
}

fn position(survey: &Survey, plan: &Plan) -> Finding {
    let table = names::position_table();
    let role = quoted(&plan.role);
    let own = &survey.own;
    let mut statements = Vec::new();
    if !own.has_schema {
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(SCHEMA)));
    }
    if !own.role_uses_schema {
        statements.push(format!(
            "GRANT USAGE ON SCHEMA {} TO {role}",
            quoted(SCHEMA)
        ));
    }
    if !own.has_position {
        statements.push(POSITION_TABLE_SQL.to_owned());
    }
    if !own.has_parked {
        statements.push(PARKED_TABLE_SQL.to_owned());
    }
    let parked = names::parked_table();
    let tables = [
        (&table, own.role_writes_position),
        (&parked, own.role_writes_parked),
    ];
    for (table, _) in tables.into_iter().filter(|(_, may)| !may) {
        statements.push(format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {role}",
            table.sql()
        ));
    }
    if statements.is_empty() {
        return Finding::ok("position", table, "the role may write it");
    }
    Finding::sql(
        "position",
        table,
        "each transaction that Meridian writes says there how far this server is",
        statements,
    )
}

fn publication(survey: &Survey, plan: &Plan, tables: &[&TableFacts]) -> Finding {
    let name = names::of_dataset(&plan.dataset);
    let sql_name = quoted(&name);
    let mut wanted: BTreeSet<&TableName> = tables.iter().map(|facts| &facts.table.name).collect();
    // One that lost its key stops its region, with the reason. Taken out, it would go on alone.
    let published = survey.publication.iter().flat_map(|it| &it.tables);
    wanted.extend(published.filter(|name| {
        let facts = survey.catalog.table(name);
        facts.is_some_and(|facts| facts.table.key.is_empty())
    }));
    let list = wanted
        .iter()
        .map(|table| table.sql())
        .collect::<Vec<_>>()
        .join(", ");
    let options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
    let Some(there) = &survey.publication else {
        let of = if wanted.is_empty() {
            String::new()
        } else {
            format!(" FOR TABLE {list}")
        };
        return Finding::sql(
            "publication",
            &name,
            format!("capture reads {} tables through it", wanted.len()),
            [format!(
                "CREATE PUBLICATION {sql_name}{of} WITH ({options})"
            )],
        );
    };
    if there.is_for_all {
        return Finding::refused(
            "publication",
            &name,
            "it is for all tables of the database, whatever the topology says",
        )
        .hint("drop it, and run this again")
        .with([format!("DROP PUBLICATION {sql_name}")]);
    }
    let mut statements = Vec::new();
    if !there.publishes_all {
        statements.push(format!("ALTER PUBLICATION {sql_name} SET ({options})"));
    }
    statements.extend(set_tables(there, &wanted, &sql_name, &list));
    if statements.is_empty() {
        let reason = format!("has the {} tables that replicate", wanted.len());
        return Finding::ok("publication", &name, reason);
    }
    Finding::sql(
        "publication",
        &name,
        "it has other tables, or less of them, than what replicates",
        statements,
    )
}

fn set_tables(
    there: &Publication,
    wanted: &BTreeSet<&TableName>,
    sql_name: &str,
    list: &str,
) -> Option<String> {
    let has: BTreeSet<&TableName> = there.tables.iter().collect();
    if has == *wanted && !there.is_partial && !there.takes_schemas {
        None
    } else if wanted.is_empty() {
        let tables: Vec<String> = has.iter().map(|table| table.sql()).collect();
        Some(format!(
            "ALTER PUBLICATION {sql_name} DROP TABLE {}",
            tables.join(", ")
        ))
    } else {
        Some(format!("ALTER PUBLICATION {sql_name} SET TABLE {list}"))
    }
}
