//! The statements' texts. Arrays of texts come in, each row has its ordinal, and each text is cast to
//! its column's type.

use crate::catalog::{ForeignKey, Table, quoted};
use std::fmt::Write as _;

/// An ordinal's name, which no column has.
const N: &str = "\"meridian.n\"";

/// `unnest($first…)` with these names and the ordinal, as `u`.
fn source(first: usize, names: &[String]) -> String {
    let arrays: Vec<String> = (first..first + names.len())
        .map(|number| format!("${number}::text[]"))
        .collect();
    format!(
        "unnest({}) WITH ORDINALITY AS u({}, {N})",
        arrays.join(", "),
        names.join(", ")
    )
}

/// The same, in the order of the key: rows are locked in the order in which most others lock them too,
/// so that seldom two wait for each other.
fn source_in_order(
    table: &Table,
    names: &[String],
    name: impl Fn(usize, usize) -> String,
) -> String {
    let key = table.key.iter().enumerate();
    let order: Vec<String> = key
        .map(|(place, key)| format!("u.{}::{}", name(place, *key), type_name(table, *key)))
        .collect();
    let (all, order) = (source(1, names), order.join(", "));
    format!("(SELECT * FROM {all} ORDER BY {order}) AS u")
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}{number}"))
        .collect()
}

fn column(table: &Table, column: usize) -> String {
    quoted(&table.columns[column].name)
}

/// What a column's text is cast to (`casts`).
fn type_name(table: &Table, column: usize) -> &str {
    &table.columns[column].type_name
}

/// Columns, or keys' columns where `is_key` → nothing, where every text is a value of its type.
pub(super) fn fits(table: &Table, is_key: bool) -> String {
    let columns: Vec<usize> = if is_key {
        table.key.clone()
    } else {
        (0..table.columns.len()).collect()
    };
    let names = names("c", columns.len());
    let casts: Vec<String> = columns
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("u.{name}::{} IS NULL", type_name(table, *column)))
        .collect();
    // An array has all of its members computed.
    format!(
        "SELECT sum(array_length(ARRAY[{}], 1)) FROM {}",
        casts.join(", "),
        source(1, &names)
    )
}

/// `t` is the row that `u` names, by the key's place in the source.
///
/// Not by a plain equality: with one, the planner also thinks of reading the whole table in the order
/// of its key, each row against all of `u`. Where it takes the table for empty (it was analysed when
/// it was), that looks best, and a plan that is kept is taken long after the table has grown. A value
/// that is one of an array is found through the key's index and in no other way.
fn key_is(table: &Table, name: impl Fn(usize, usize) -> String) -> String {
    let parts: Vec<String> = table
        .key
        .iter()
        .enumerate()
        .map(|(place, key)| {
            let (name, type_name) = (name(place, *key), type_name(table, *key));
            let column = column(table, *key);
            // An array of arrays is one array of more dimensions.
            if type_name.ends_with("[]") {
                format!("t.{column} = u.{name}::{type_name}")
            } else {
                format!("t.{column} = ANY (ARRAY[u.{name}::{type_name}])")
            }
        })
        .collect();
    parts.join(" AND ")
}

fn by_key(place: usize, _: usize) -> String {
    format!("k{place}")
}

fn by_column(_: usize, column: usize) -> String {
    format!("c{column}")
}

/// The writer is the known one, or below the horizon.
fn is_captured(horizon: usize) -> String {
    format!("(t.xmin = u.x::xid OR age(t.xmin) > age((${horizon}::text)::xid))")
}

/// A key's texts as the server writes them; a cast to text would write some types otherwise.
fn key_texts(table: &Table, alias: &str) -> String {
    let texts: Vec<String> = table
        .key
        .iter()
        .map(|key| format!("format('%s', {alias}.{})", column(table, *key)))
        .collect();
    texts.join(", ")
}

fn not_key(table: &Table) -> impl Iterator<Item = usize> + '_ {
    (0..table.columns.len()).filter(|column| !table.is_key(*column))
}

/// What an update sets. `None` where there is nothing but the key.
fn sets(table: &Table) -> Option<String> {
    let sets: Vec<String> = not_key(table)
        .filter(|place| !table.columns[*place].is_identity_always)
        .map(|place| {
            format!(
                "{} = u.c{place}::{}",
                column(table, place),
                type_name(table, place)
            )
        })
        .collect();
    (!sets.is_empty()).then(|| sets.join(", "))
}

/// Columns, known writers, horizon. `None` where there is nothing but the key.
pub(super) fn update(table: &Table) -> Option<String> {
    let mut names = names("c", table.columns.len());
    names.push("x".to_owned());
    Some(format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {} AND {}",
        table.name.sql(),
        sets(table)?,
        source_in_order(table, &names, by_column),
        key_is(table, by_column),
        is_captured(names.len() + 1),
    ))
}

/// Keys, known writers, horizon → ordinals.
pub(super) fn delete(table: &Table) -> String {
    let mut names = names("k", table.key.len());
    names.push("x".to_owned());
    format!(
        "DELETE FROM {} AS t USING {} WHERE {} AND {} RETURNING u.{N}",
        table.name.sql(),
        source_in_order(table, &names, by_key),
        key_is(table, by_key),
        is_captured(names.len() + 1),
    )
}

/// Columns; rows whose key is there are left out.
pub(super) fn insert(table: &Table) -> String {
    insert_from(table, &source(1, &names("c", table.columns.len())))
}

fn insert_from(table: &Table, source: &str) -> String {
    let all: Vec<String> = (0..table.columns.len())
        .map(|place| column(table, place))
        .collect();
    let values: Vec<String> = (0..table.columns.len())
        .map(|place| format!("u.c{place}::{}", type_name(table, place)))
        .collect();
    let key: Vec<String> = table
        .key
        .iter()
        .map(|place| column(table, *place))
        .collect();
    let overriding = if table.columns.iter().any(|column| column.is_identity_always) {
        "OVERRIDING SYSTEM VALUE "
    } else {
        ""
    };
    format!(
        "INSERT INTO {} ({}) {overriding}SELECT {} FROM {source} ON CONFLICT ({}) DO NOTHING",
        table.name.sql(),
        all.join(", "),
        values.join(", "),
        key.join(", "),
    )
}

/// Fails, of no row's fault, by asking for a setting that nobody can define, since names have no spaces: so
/// the server's log says why.
const NOT_ALL: &str =
    "pg_catalog.current_setting('meridian.the last writer of a row is yet to be captured')";

/// Columns, known writers, and the horizon where an [`update`] takes one → an error unless each row was
/// changed or inserted.
pub(super) fn write_all(table: &Table) -> String {
    let width = table.columns.len();
    let mut names = names("c", width);
    names.push("x".to_owned());
    let changed = sets(table).map(|sets| {
        format!(
            "changed AS (UPDATE {} AS t SET {sets} FROM u WHERE {} AND {} RETURNING 1), ",
            table.name.sql(),
            key_is(table, by_column),
            is_captured(width + 2),
        )
    });
    let count = if changed.is_some() {
        "(SELECT count(*) FROM changed) + "
    } else {
        ""
    };
    format!(
        "WITH u AS MATERIALIZED (SELECT * FROM {}), {}added AS ({} RETURNING 1) SELECT (CASE WHEN \
         {count}(SELECT count(*) FROM added) <> (SELECT count(*) FROM u) THEN {NOT_ALL} END)",
        source_in_order(table, &names, by_column),
        changed.unwrap_or_default(),
        insert_from(table, "u"),
    )
}

/// Keys, known writers, horizon → an error unless all rows that are there were deleted.
pub(super) fn delete_all(table: &Table) -> String {
    let mut names = names("k", table.key.len());
    names.push("x".to_owned());
    format!(
        "WITH u AS MATERIALIZED (SELECT * FROM {}), gone AS (DELETE FROM {} AS t USING u WHERE {} AND {} \
         RETURNING 1) SELECT (CASE WHEN (SELECT count(*) FROM gone) <> \
         (SELECT count(*) FROM u JOIN {} AS t ON {}) THEN {NOT_ALL} END)",
        source_in_order(table, &names, by_key),
        table.name.sql(),
        key_is(table, by_key),
        is_captured(names.len() + 1),
        table.name.sql(),
        key_is(table, by_key),
    )
}

/// Keys → ordinals and writers of those that are there.
pub(super) fn found(table: &Table) -> String {
    found_in(table, &source(1, &names("k", table.key.len())))
}

fn found_in(table: &Table, source: &str) -> String {
    format!(
        "SELECT u.{N}, t.xmin::text FROM {source} JOIN {} AS t ON {}",
        table.name.sql(),
        key_is(table, by_key),
    )
}

/// The same, and nobody else changes them any more.
pub(super) fn lock(table: &Table) -> String {
    let keys = source_in_order(table, &names("k", table.key.len()), by_key);
    format!("{} FOR NO KEY UPDATE OF t", found_in(table, &keys))
}

/// The same, without those that somebody else holds.
pub(super) fn lock_free(table: &Table) -> String {
    format!("{} SKIP LOCKED", lock(table))
}

/// Keys → ordinals of those that this transaction wrote.
pub(super) fn written(table: &Table) -> String {
    format!("{} WHERE t.xmin = pg_current_xact_id()::xid", found(table))
}

/// Columns → ordinals of those that are there with just these values.
pub(super) fn same(table: &Table) -> String {
    let mut text = format!(
        "SELECT u.{N} FROM {} JOIN {} AS t ON {} WHERE true",
        source(1, &names("c", table.columns.len())),
        table.name.sql(),
        key_is(table, by_column),
    );
    for place in not_key(table) {
        let name = column(table, place);
        let _ = write!(
            text,
            " AND CASE WHEN num_nulls(t.{name}) = 1 THEN NULL \
             ELSE format('%s', t.{name}) END IS NOT DISTINCT FROM u.c{place}"
        );
    }
    text
}

/// By what two values are compared.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    operator: String,
    /// Empty, or ` COLLATE …`.
    collation: String,
}

impl Comparison {
    /// Of operators, and collations in the same order.
    pub(super) fn all(operators: Vec<String>, collations: Vec<String>) -> Vec<Self> {
        let each = operators.into_iter().zip(collations);
        let each = each.map(|(operator, collation)| Self {
            operator,
            collation,
        });
        each.collect()
    }

    fn of(&self, one: &str, other: &str) -> String {
        let Self {
            operator,
            collation,
        } = self;
        format!("{one} {operator} {other}{collation}")
    }
}

/// A unique index or an exclusion constraint: expressions over the columns by name.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) expressions: Vec<String>,
    pub(super) predicate: Option<String>,
    pub(super) nulls_not_distinct: bool,
    /// By what the expressions exclude.
    pub(super) comparisons: Vec<Comparison>,
}

impl Index {
    fn selection(&self) -> String {
        let fields: Vec<String> = self
            .expressions
            .iter()
            .enumerate()
            .map(|(number, expression)| format!("({expression}) AS \"meridian.e{number}\""))
            .collect();
        fields.join(", ")
    }

    fn condition(&self) -> &str {
        self.predicate.as_deref().unwrap_or("true")
    }

    fn equal(&self) -> String {
        let parts = self.comparisons.iter().enumerate().map(|(number, it)| {
            let [a, b] = ["a", "b"].map(|alias| format!("{alias}.\"meridian.e{number}\""));
            let equal = it.of(&a, &b);
            if self.nulls_not_distinct {
                format!("({equal} OR num_nulls({a}, {b}) = 2)")
            } else {
                equal
            }
        });
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// The index over the batch's rows: its columns are the parameters.
    fn batch(&self, table: &Table) -> String {
        let columns: Vec<String> = (0..table.columns.len())
            .map(|place| {
                format!(
                    "u.c{place}::{} AS {}",
                    type_name(table, place),
                    column(table, place)
                )
            })
            .collect();
        format!(
            "(SELECT {N}, {} FROM (SELECT u.{N}, {} FROM {}) v WHERE {})",
            self.selection(),
            columns.join(", "),
            source(1, &names("c", table.columns.len())),
            self.condition(),
        )
    }

    /// Columns → ordinals and the keys of the server's rows with equal values.
    pub(super) fn rivals(&self, table: &Table) -> String {
        let keys: Vec<String> = table.key.iter().map(|key| column(table, *key)).collect();
        let texts: Vec<String> = (0..keys.len())
            .map(|place| format!("format('%s', b.\"meridian.k{place}\")"))
            .collect();
        let keys: Vec<String> = keys
            .iter()
            .enumerate()
            .map(|(place, key)| format!("{key} AS \"meridian.k{place}\""))
            .collect();
        format!(
            "SELECT a.{N}, {} FROM {} a JOIN (SELECT {}, {} FROM {} WHERE {}) b ON {}",
            texts.join(", "),
            self.batch(table),
            keys.join(", "),
            self.selection(),
            table.name.sql(),
            self.condition(),
            self.equal(),
        )
    }

    /// Columns → pairs of ordinals with equal values.
    pub(super) fn pairs(&self, table: &Table) -> String {
        let batch = self.batch(table);
        format!(
            "SELECT a.{N}, b.{N} FROM {batch} a JOIN {batch} b ON a.{N} < b.{N} AND {}",
            self.equal()
        )
    }
}

/// Referencing columns → ordinals, and the key of the parent where it is one of the dataset's tables.
pub(super) fn parents(
    child: &Table,
    reference: &ForeignKey,
    comparisons: &[Comparison],
    parent: Option<&Table>,
) -> String {
    let columns = reference.columns.iter().zip(&reference.parent_columns);
    let matches: Vec<String> = columns
        .zip(comparisons)
        .enumerate()
        .map(|(number, ((own, theirs), comparison))| {
            let own = format!("u.c{number}::{}", type_name(child, *own));
            comparison.of(&format!("t.{}", quoted(theirs)), &own)
        })
        .collect();
    let key = parent.map_or_else(String::new, |parent| {
        format!(", {}", key_texts(parent, "t"))
    });
    format!(
        "SELECT u.{N}{key} FROM {} JOIN {} AS t ON {}",
        source(1, &names("c", reference.columns.len())),
        reference.parent.sql(),
        matches.join(" AND "),
    )
}

/// Referencing columns, then the columns referred to, of the batch's rows → pairs of ordinals.
pub(super) fn batch_parents(
    child: &Table,
    reference: &ForeignKey,
    comparisons: &[Comparison],
    (parent, referred): (&Table, &[usize]),
) -> String {
    let count = reference.columns.len();
    let columns = reference.columns.iter().zip(referred);
    let matches: Vec<String> = columns
        .zip(comparisons)
        .enumerate()
        .map(|(number, ((own, theirs), comparison))| {
            let own = format!("a.c{number}::{}", type_name(child, *own));
            let theirs = format!("b.c{number}::{}", type_name(parent, *theirs));
            comparison.of(&theirs, &own)
        })
        .collect();
    format!(
        "SELECT a.{N}, b.{N} FROM (SELECT * FROM {}) a JOIN (SELECT * FROM {}) b ON {}",
        source(1, &names("c", count)),
        source(count + 1, &names("c", count)),
        matches.join(" AND "),
    )
}

/// Keys of parents → ordinals and the keys of the server's rows that refer to them.
pub(super) fn children(
    parent: &Table,
    child: &Table,
    reference: &ForeignKey,
    comparisons: &[Comparison],
) -> String {
    let columns = reference.columns.iter().zip(&reference.parent_columns);
    let matches: Vec<String> = columns
        .zip(comparisons)
        .map(|((own, theirs), comparison)| {
            let own = format!("c.{}", column(child, *own));
            comparison.of(&format!("t.{}", quoted(theirs)), &own)
        })
        .collect();
    format!(
        "SELECT u.{N}, {} FROM {} JOIN {} AS t ON {} JOIN {} AS c ON {}",
        key_texts(child, "c"),
        source(1, &names("k", parent.key.len())),
        parent.name.sql(),
        key_is(parent, by_key),
        child.name.sql(),
        matches.join(" AND "),
    )
}
