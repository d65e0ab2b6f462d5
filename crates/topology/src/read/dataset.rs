//! `[[dataset]]`: reading each, then the rules that hold among them.

use super::section::{At, Section};
use super::{postgres, promises, schema};
use crate::dataset::{
    COMPARE_EVERY, COMPARE_ROWS_PER_SECOND_MAX, Dataset, DeadLetters, Engine, Limits, Strategy,
    TableRules,
};
use crate::fault::Faults;
use crate::name::{DatasetName, TableName};
use crate::pattern::TablePattern;
use crate::quantity::format_size;
use crate::suggest::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use toml::de::DeTable;

/// The largest document that may be allowed: a whole document is held in memory in several places.
const DOCUMENT_BYTES_AT_MOST: u64 = 8 << 20;
/// The largest transaction that may be allowed, in bytes: it must fit into one message of a link.
pub const TRANSACTION_BYTES_AT_MOST: u64 = 12 << 20;
/// The longest key that may be allowed: keys are held in memory by every index block.
const KEY_BYTES_AT_MOST: u64 = 4096;
/// Beyond this a number of bytes is a slip of the pen.
const LOG_BYTES_AT_MOST: u64 = 1 << 50;
/// A region is away for some seconds whenever it is restarted.
const EVICT_AFTER_AT_LEAST: Duration = Duration::from_secs(10);
const CONFLICTS_AT_MOST: u64 = 1_000_000_000;
/// Beyond this a limit on the pace is none.
const ROWS_PER_SECOND_AT_MOST: u64 = 1_000_000_000;

const EMBEDDED: &str = "embedded";
const POSTGRES: &str = "postgres";
/// Engines that a person may rightly expect one day.
const ENGINES_OF_OTHERS: [&str; 4] = ["redis", "valkey", "kafka", "mysql"];

/// A dataset as far as it could be read.
pub(super) struct Draft<'d> {
    at: usize,
    name: Option<At<&'d str>>,
    /// `None` for the embedded engine; inside, what could be read of the servers.
    postgres: Option<Option<postgres::Draft<'d>>>,
    strategy: Strategy,
    tables: Tables,
    table_rules: Vec<(At<TableName>, TableRules)>,
    limits: Limits,
    promises: promises::Draft<'d>,
    dead_letters: DeadLetters,
    compare_every: Duration,
    compare_rows_per_second_max: u64,
}

enum Tables {
    /// The key is absent: every table that no other dataset names.
    Rest,
    /// The patterns that could be read.
    Named(Vec<At<TablePattern>>),
}

pub(super) fn read<'d>(root: &Section<'d>, base: &Path, faults: &mut Faults<'_>) -> Vec<Draft<'d>> {
    root.tables("dataset", faults)
        .into_iter()
        .map(|table| read_one(table, base, faults))
        .collect()
}

fn read_one<'d>(table: At<&'d DeTable<'d>>, base: &Path, faults: &mut Faults<'_>) -> Draft<'d> {
    let section = Section::open(table, "[[dataset]]", schema::DATASET, faults);
    let name = section.required_text("name", faults).filter(|name| {
        DatasetName::new(name.value)
            .map_err(|error| faults.report(name.at, error.reason, error.hint))
            .is_ok()
    });
    let is_postgres = read_engine(&section, faults) == Some(POSTGRES);
    if !is_postgres && let Some(servers) = section.value("postgres") {
        faults.report(
            servers.at,
            "servers of PostgreSQL in a dataset with another engine",
            "use engine = \"postgres\", or leave [dataset.postgres] out",
        );
    }
    let strategy = read_strategy(&section, faults).unwrap_or(Strategy::LastWriterWins);
    Draft {
        at: section.at,
        name,
        postgres: is_postgres.then(|| postgres::read(&section, base, faults)),
        strategy,
        tables: read_tables(&section, faults),
        table_rules: read_table_rules(&section, strategy, is_postgres, faults),
        limits: read_limits(&section, faults),
        promises: promises::read(&section, faults),
        dead_letters: read_dead_letters(&section, faults),
        compare_every: section
            .duration("compare-every", faults)
            .map_or(COMPARE_EVERY, |every| every.value),
        compare_rows_per_second_max: section
            .count(
                "compare-rows-per-second-max",
                1..=ROWS_PER_SECOND_AT_MOST,
                faults,
            )
            .map_or(COMPARE_ROWS_PER_SECOND_MAX, |rows| rows.value),
    }
}

fn read_dead_letters(section: &Section<'_>, faults: &mut Faults<'_>) -> DeadLetters {
    let given = section.text("dead-letters", faults);
    match given.as_ref().map(|given| given.value) {
        None | Some("set-aside") => return DeadLetters::SetAside,
        Some("stop") => return DeadLetters::Stop,
        Some(_) => {}
    }
    if let Some(given) = given {
        let reason = format!("{:?} is not what can become of a dead letter", given.value);
        let hint = "use dead-letters = \"set-aside\", or \"stop\" to stop applying at it";
        faults.report(given.at, reason, hint);
    }
    DeadLetters::SetAside
}

/// The engine, if this build has it.
fn read_engine(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<&'static str> {
    let engine = section.required_text("engine", faults)?;
    if let Some(known) = [EMBEDDED, POSTGRES]
        .into_iter()
        .find(|known| *known == engine.value)
    {
        return Some(known);
    }
    let reason = if ENGINES_OF_OTHERS.contains(&engine.value) {
        format!("this build does not support engine {:?}", engine.value)
    } else {
        format!("unknown engine {:?}", engine.value)
    };
    let hint = nearest(engine.value, [EMBEDDED, POSTGRES]).map_or_else(
        || "use engine = \"embedded\", which needs nothing else, or \"postgres\"".to_owned(),
        |near| format!("did you mean {near:?}?"),
    );
    faults.report(engine.at, reason, hint);
    None
}

fn read_strategy(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Strategy> {
    let strategy = section.text("strategy", faults)?;
    if let Some(known) = Strategy::from_name(strategy.value) {
        return Some(known);
    }
    let names = Strategy::ALL.map(Strategy::name);
    let hint = nearest(strategy.value, names).map_or_else(
        || format!("the strategies are {}", names.join(", ")),
        |near| format!("did you mean {near:?}?"),
    );
    let reason = format!("this build has no strategy {:?}", strategy.value);
    faults.report(strategy.at, reason, hint);
    None
}

fn read_tables(section: &Section<'_>, faults: &mut Faults<'_>) -> Tables {
    let Some(texts) = section.texts("tables", faults) else {
        // Present and no array has been reported; to call it absent would add a false fault.
        let absent = section.value("tables").is_none();
        return if absent {
            Tables::Rest
        } else {
            Tables::Named(Vec::new())
        };
    };
    if texts.value.is_empty() {
        faults.report(
            texts.at,
            "`tables` is empty, so the dataset would take no table",
            "name tables, or leave `tables` out to take every table that no other dataset names",
        );
    }
    let mut patterns = Vec::new();
    for text in texts.value {
        match TablePattern::new(text.value) {
            Ok(pattern) => patterns.push(text.with(pattern)),
            Err(error) => faults.report(text.at, error.reason, error.hint),
        }
    }
    Tables::Named(patterns)
}

fn read_table_rules(
    section: &Section<'_>,
    default: Strategy,
    is_postgres: bool,
    faults: &mut Faults<'_>,
) -> Vec<(At<TableName>, TableRules)> {
    let Some(tables) = section.table("table", faults) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (key, value) in tables.value {
        let at = key.span().start;
        let Some(table) = value.get_ref().as_table() else {
            faults.report(
                at,
                format!("`table.{}` must be a table", key.get_ref()),
                format!(
                    "write [dataset.table.{}] and below it what differs",
                    key.get_ref()
                ),
            );
            continue;
        };
        let table = At { value: table, at };
        let section = Section::open(table, "[dataset.table]", schema::TABLE, faults);
        let strategy = read_strategy(&section, faults).unwrap_or(default);
        if is_postgres {
            check_strategy(&section, strategy, faults);
        }
        let counters = read_counters(&section, is_postgres, faults);
        let table_rules = TableRules { strategy, counters };
        match TableName::new(key.get_ref()) {
            Ok(value) => rules.push((At { value, at }, table_rules)),
            Err(error) => faults.report(at, error.reason, error.hint),
        }
    }
    rules
}

/// Of PostgreSQL's rows the later version stands, counters apart.
fn check_strategy(section: &Section<'_>, strategy: Strategy, faults: &mut Faults<'_>) {
    if let Some(found) = section.value("strategy")
        && strategy != Strategy::LastWriterWins
    {
        faults.report(
            found.at,
            "a table of PostgreSQL can't have this strategy",
            "use strategy = \"last-writer-wins\"; columns that count can be `counters`",
        );
    }
}

/// Columns that merge by difference.
fn read_counters(
    section: &Section<'_>,
    is_postgres: bool,
    faults: &mut Faults<'_>,
) -> BTreeSet<String> {
    let Some(counters) = section.texts("counters", faults) else {
        return BTreeSet::new();
    };
    if !is_postgres {
        faults.report(
            counters.at,
            "`counters` in a dataset that isn't on PostgreSQL",
            "leave it out: of an embedded table each field that is incremented counts",
        );
    }
    let mut names = BTreeSet::new();
    for counter in counters.value {
        let reason = if counter.value.is_empty() {
            "the name of a counter is empty".to_owned()
        } else if names.insert(counter.value.to_owned()) {
            continue;
        } else {
            format!("counter {:?} is there twice", counter.value)
        };
        faults.report(counter.at, reason, "name each column once");
    }
    names
}

fn read_limits(dataset: &Section<'_>, faults: &mut Faults<'_>) -> Limits {
    let defaults = Limits::default();
    let Some(table) = dataset.table("limits", faults) else {
        return defaults;
    };
    let section = Section::open(table, "[dataset.limits]", schema::LIMITS, faults);
    let mut size = |key, at_most, default| {
        section
            .size(key, 1..=at_most, faults)
            .map_or(default, |size| size.value)
    };
    let limits = Limits {
        document_bytes_max: size(
            "document-bytes-max",
            DOCUMENT_BYTES_AT_MOST,
            defaults.document_bytes_max,
        ),
        transaction_bytes_max: size(
            "transaction-bytes-max",
            TRANSACTION_BYTES_AT_MOST,
            defaults.transaction_bytes_max,
        ),
        key_bytes_max: size("key-bytes-max", KEY_BYTES_AT_MOST, defaults.key_bytes_max),
        log_bytes_max: size("log-bytes-max", LOG_BYTES_AT_MOST, defaults.log_bytes_max),
        log_reserve_bytes: size(
            "log-reserve-bytes",
            LOG_BYTES_AT_MOST,
            defaults.log_reserve_bytes,
        ),
        conflicts_max: section
            .count("conflicts-max", 1..=CONFLICTS_AT_MOST, faults)
            .map_or(defaults.conflicts_max, |count| count.value),
        log_retention: section
            .duration("log-retention", faults)
            .map_or(defaults.log_retention, |duration| duration.value),
        evict_after: read_evict_after(&section, faults),
    };
    check_limits(&section, &limits, faults);
    limits
}

fn read_evict_after(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Duration> {
    let after = section.duration("evict-after", faults)?;
    if after.value < EVICT_AFTER_AT_LEAST {
        faults.report(
            after.at,
            "`evict-after` is too short: a restart would be taken for a loss",
            "give at least 10s; days are usual, since coming back means copying everything",
        );
        return None;
    }
    Some(after.value)
}

/// A limit that must not be smaller than another: their keys and values.
struct AtLeast {
    key: &'static str,
    value: u64,
    other_key: &'static str,
    other: u64,
}

/// What must hold among limits. A fault stands where the file sets the key, or the one it clashes
/// with, or else the table.
fn check_limits(section: &Section<'_>, limits: &Limits, faults: &mut Faults<'_>) {
    let rules = [
        AtLeast {
            key: "transaction-bytes-max",
            value: limits.transaction_bytes_max,
            other_key: "document-bytes-max",
            other: limits.document_bytes_max,
        },
        AtLeast {
            key: "log-reserve-bytes",
            value: limits.log_reserve_bytes,
            other_key: "transaction-bytes-max",
            other: limits.transaction_bytes_max,
        },
    ];
    for rule in rules.iter().filter(|rule| rule.value < rule.other) {
        let reason = format!(
            "`{}` ({}) is below `{}` ({})",
            rule.key,
            format_size(rule.value),
            rule.other_key,
            format_size(rule.other)
        );
        let hint = format!("raise `{}` or lower `{}`", rule.key, rule.other_key);
        faults.report(place(section, rule.key, rule.other_key), reason, hint);
    }
    check_log_room(section, limits, faults);
}

/// The log beside its reserve must hold at least one transaction, or no client could ever write.
fn check_log_room(section: &Section<'_>, limits: &Limits, faults: &mut Faults<'_>) {
    let room = limits.log_bytes_max.checked_sub(limits.log_reserve_bytes);
    if room.is_some_and(|room| room > 0 && room >= limits.transaction_bytes_max) {
        return;
    }
    let reason = format!(
        "`log-bytes-max` ({}) leaves no room for a transaction ({}) beside `log-reserve-bytes` ({})",
        format_size(limits.log_bytes_max),
        format_size(limits.transaction_bytes_max),
        format_size(limits.log_reserve_bytes),
    );
    let hint = "raise `log-bytes-max` or lower `log-reserve-bytes`";
    faults.report(
        place(section, "log-bytes-max", "log-reserve-bytes"),
        reason,
        hint,
    );
}

fn place(section: &Section<'_>, key: &str, other_key: &str) -> usize {
    section
        .value(key)
        .or_else(|| section.value(other_key))
        .map_or(section.at, |value| value.at)
}

/// The rules among datasets.
pub(super) fn check(datasets: &[Draft<'_>], root: &Section<'_>, faults: &mut Faults<'_>) {
    if root.declares_no("dataset") {
        faults.report(
            root.at,
            "there is no dataset",
            "add [[dataset]] with name = \"main\" and engine = \"embedded\"",
        );
    }
    check_names(datasets, faults);
    check_rest(datasets, faults);
    check_patterns(datasets, faults);
    check_table_rules(datasets, faults);
}

fn check_names(datasets: &[Draft<'_>], faults: &mut Faults<'_>) {
    let mut seen = BTreeMap::new();
    for name in datasets.iter().filter_map(|dataset| dataset.name) {
        if let Some(first) = seen.insert(name.value, name.at) {
            let line = faults.position(first).line;
            faults.report(
                name.at,
                format!(
                    "dataset {:?} is declared twice, first on line {line}",
                    name.value
                ),
                "give each dataset its own name",
            );
        }
    }
}

fn check_rest(datasets: &[Draft<'_>], faults: &mut Faults<'_>) {
    let mut without = datasets
        .iter()
        .filter(|dataset| matches!(dataset.tables, Tables::Rest));
    let Some(first) = without.next() else { return };
    let line = faults.position(first.at).line;
    for dataset in without {
        faults.report(
            dataset.at,
            format!("a second dataset without `tables`, the first is on line {line}"),
            "only one can take the tables that no other names: add `tables` to the others",
        );
    }
}

fn check_patterns(datasets: &[Draft<'_>], faults: &mut Faults<'_>) {
    let mut earlier: Vec<&At<TablePattern>> = Vec::new();
    for pattern in datasets.iter().flat_map(patterns) {
        if let Some(other) = earlier
            .iter()
            .find(|other| other.value.overlaps(&pattern.value))
        {
            let line = faults.position(other.at).line;
            faults.report(
                pattern.at,
                format!(
                    "\"{}\" overlaps \"{}\" on line {line}",
                    pattern.value, other.value
                ),
                "name each table once, in one dataset",
            );
        }
        earlier.push(pattern);
    }
}

fn patterns<'a>(dataset: &'a Draft<'_>) -> &'a [At<TablePattern>] {
    match &dataset.tables {
        Tables::Rest => &[],
        Tables::Named(patterns) => patterns,
    }
}

/// A table with rules in one dataset that goes to another would have rules that never apply.
fn check_table_rules(datasets: &[Draft<'_>], faults: &mut Faults<'_>) {
    for (index, dataset) in datasets.iter().enumerate() {
        for (table, _) in &dataset.table_rules {
            let name = table.value.as_str();
            if taker(datasets, name) != Some(index) {
                faults.report(
                    table.at,
                    format!("table \"{name}\" has rules in a dataset that does not take it"),
                    "add it to this dataset's `tables`, or move the rules to the dataset that takes it",
                );
            }
        }
    }
}

fn taker(datasets: &[Draft<'_>], table: &str) -> Option<usize> {
    let names = |dataset: &Draft<'_>| {
        patterns(dataset)
            .iter()
            .any(|pattern| pattern.value.matches(table))
    };
    datasets.iter().position(names).or_else(|| {
        datasets
            .iter()
            .position(|dataset| matches!(dataset.tables, Tables::Rest))
    })
}

/// The rules between datasets and regions.
pub(super) fn check_promises(
    datasets: &[Draft<'_>],
    named: &promises::Named<'_>,
    faults: &mut Faults<'_>,
) {
    for dataset in datasets {
        promises::check(&dataset.promises, named, faults);
    }
    let postgres: Vec<&postgres::Draft<'_>> = datasets
        .iter()
        .filter_map(|dataset| dataset.postgres.as_ref()?.as_ref())
        .collect();
    for draft in &postgres {
        postgres::check(draft, named, faults);
    }
    postgres::check_among(&postgres, faults);
}

/// The datasets, or `None` if one of them is not whole.
pub(super) fn finish(drafts: Vec<Draft<'_>>) -> Option<Vec<Dataset>> {
    drafts
        .into_iter()
        .map(|draft| {
            Some(Dataset {
                name: DatasetName::new(draft.name?.value).ok()?,
                engine: match draft.postgres {
                    None => Engine::Embedded,
                    Some(postgres) => Engine::Postgres(postgres::finish(postgres?)?),
                },
                strategy: draft.strategy,
                tables: match draft.tables {
                    Tables::Rest => None,
                    Tables::Named(patterns) => {
                        Some(patterns.into_iter().map(|pattern| pattern.value).collect())
                    }
                },
                table_rules: draft
                    .table_rules
                    .into_iter()
                    .map(|(table, rules)| (table.value, rules))
                    .collect(),
                limits: draft.limits,
                promises: promises::finish(&draft.promises)?,
                dead_letters: draft.dead_letters,
                compare_every: draft.compare_every,
                compare_rows_per_second_max: draft.compare_rows_per_second_max,
            })
        })
        .collect()
}
