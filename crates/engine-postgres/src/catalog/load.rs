//! Reading the catalog.

use super::facts::{
    Action, ColumnFacts, Identity, Kind, Partition, Privileges, Sequence, TableFacts, Trigger,
};
use super::{Column, ForeignKey, Selection, Table, TableName, Unique, order, queries};
use crate::server::ServerError;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Row};

/// The tables of a server that belong to a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    tables: BTreeMap<TableName, TableFacts>,
}

/// The version from which on indexes can treat NULLs as equal.
const NULLS_NOT_DISTINCT_SINCE: i32 = 150_000;

impl Catalog {
    /// Reads what `selection` takes. One after the other, so a table that is altered meanwhile may
    /// be seen half before and half after: whoever goes by the result compares it with the stream.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn load(client: &Client, selection: &Selection) -> Result<Self, ServerError> {
        let version = server_version(client).await?;
        let mut tables = BTreeMap::new();
        for row in client.query(queries::TABLES, &[]).await? {
            let facts = table(&row);
            if selection.takes(&facts.table.name) {
                tables.insert(facts.oid, facts);
            }
        }
        let oids: Vec<u32> = tables.keys().copied().collect();
        for row in client.query(queries::COLUMNS, &[&oids]).await? {
            add(&mut tables, &row, |facts| {
                add_column(facts, selection, &row)
            });
        }
        let nulls = if version >= NULLS_NOT_DISTINCT_SINCE {
            "i.indnullsnotdistinct"
        } else {
            "false"
        };
        let unique = queries::UNIQUE.replace("{nulls_not_distinct}", nulls);
        for row in client.query(&unique, &[&oids]).await? {
            add(&mut tables, &row, |facts| add_unique(facts, &row));
        }
        for row in client.query(queries::FOREIGN_KEYS, &[&oids]).await? {
            add(&mut tables, &row, |facts| add_foreign_key(facts, &row));
        }
        for row in client.query(queries::CHECKS, &[&oids]).await? {
            add(&mut tables, &row, |facts| {
                facts.checks.push((row.get(1), row.get(2)));
            });
        }
        for row in client.query(queries::TRIGGERS, &[&oids]).await? {
            add(&mut tables, &row, |facts| {
                facts.triggers.push(trigger(&row))
            });
        }
        for row in client.query(queries::PARTITIONS, &[&oids]).await? {
            add(&mut tables, &row, |facts| {
                facts.partitions.push(partition(&row));
            });
        }
        for row in client.query(queries::SEQUENCES, &[&oids]).await? {
            let sequence = sequence(client, &row).await?;
            add(&mut tables, &row, |facts| facts.sequences.push(sequence));
        }
        Ok(Self::of(tables.into_values()))
    }

    /// A catalog of these tables.
    pub fn of(tables: impl IntoIterator<Item = TableFacts>) -> Self {
        Self {
            tables: tables
                .into_iter()
                .map(|facts| (facts.table.name.clone(), facts))
                .collect(),
        }
    }

    /// The tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &TableFacts> {
        self.tables.values()
    }

    /// A table.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&TableFacts> {
        self.tables.get(name)
    }

    /// The tables' names, each after those that its foreign keys point to; in a circle, the first
    /// by name begins.
    #[must_use]
    pub fn parents_first(&self) -> Vec<&TableName> {
        order::parents_first(self.tables.values().map(|facts| &facts.table))
    }
}

/// The server's version as a number: 150004 is 15.4.
///
/// # Errors
/// [`ServerError`].
pub(crate) async fn server_version(client: &Client) -> Result<i32, ServerError> {
    let row = client
        .query_one(
            "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// What a row, whose first field is a table's id, adds to that table.
fn add(tables: &mut BTreeMap<u32, TableFacts>, row: &Row, change: impl FnOnce(&mut TableFacts)) {
    if let Some(facts) = tables.get_mut(&row.get::<_, u32>(0)) {
        change(facts);
    }
}

fn name(row: &Row, schema: usize) -> TableName {
    TableName {
        schema: row.get(schema),
        name: row.get(schema + 1),
    }
}

/// A `"char"` that the query has made a text of.
fn letter(row: &Row, field: usize) -> char {
    row.get::<_, &str>(field).chars().next().unwrap_or(' ')
}

fn identity(letter: char) -> Identity {
    match letter {
        'f' => Identity::Full,
        'n' => Identity::Nothing,
        'i' => Identity::Index,
        _ => Identity::Default,
    }
}

fn table(row: &Row) -> TableFacts {
    TableFacts {
        table: Table {
            name: name(row, 1),
            columns: Vec::new(),
            key: Vec::new(),
            unique: Vec::new(),
            references: Vec::new(),
            former: std::collections::BTreeMap::new(),
        },
        oid: row.get(0),
        kind: match letter(row, 3) {
            'p' => Kind::Partitioned,
            'f' => Kind::Foreign,
            _ => Kind::Ordinary,
        },
        is_unlogged: letter(row, 4) == 'u',
        identity: identity(letter(row, 5)),
        has_row_security: row.get(6),
        forces_row_security: row.get(7),
        inherits: row.get(8),
        has_rules: row.get(9),
        owner: row.get(10),
        privileges: Privileges {
            owns: row.get(11),
            select: row.get(12),
            insert: row.get(13),
            update: row.get(14),
            delete: row.get(15),
            truncate: row.get(16),
            schema: row.get(17),
        },
        columns: Vec::new(),
        key_name: None,
        key_is_deferrable: false,
        unique_definitions: Vec::new(),
        actions: Vec::new(),
        triggers: Vec::new(),
        checks: Vec::new(),
        partitions: Vec::new(),
        sequences: Vec::new(),
        over_generated: Vec::new(),
    }
}

fn add_column(facts: &mut TableFacts, selection: &Selection, row: &Row) {
    let column: String = row.get(2);
    let default: Option<String> = row.get(17);
    let constant = default.as_deref().and_then(literal);
    let missing: Option<String> = row.get(16);
    let is_default_literal = constant.is_some();
    facts.table.columns.push(Column {
        missing: missing.or(constant),
        type_name: row.get(3),
        is_nullable: row.get(4),
        is_counter: selection.is_counter(&facts.table.name, &column),
        is_identity_always: letter(row, 5) == 'a',
        name: column,
    });
    let base = BaseType {
        oid: row.get(7),
        modifier: row.get(8),
        kind: letter(row, 9),
        element: row.get(12),
        element_kind: letter(row, 13),
    };
    facts.columns.push(ColumnFacts {
        number: row.get(1),
        base_type: row.get(10),
        is_text_exact: base.is_text_exact() && row.get(14),
        is_toastable: row.get(6),
        is_domain: row.get(11),
        collation: row.get(15),
        default,
        is_default_literal,
    });
}

/// The value of a default that is a constant, as `pg_get_expr` writes one: `7`, `1.5`, `true`,
/// `'it''s'::text`, `'{}'::jsonb`.
fn literal(expression: &str) -> Option<String> {
    let is_number = |text: &str| {
        let mut letters = text.chars();
        letters.next().is_some_and(|first| first.is_ascii_digit())
            && letters.all(|letter| letter.is_ascii_digit() || letter == '.')
    };
    if is_number(expression) {
        return Some(expression.to_owned());
    }
    match expression {
        "true" => return Some("t".to_owned()),
        "false" => return Some("f".to_owned()),
        _ => {}
    }
    let quoted = expression.strip_prefix('\'')?;
    let (mut value, mut letters) = (String::new(), quoted.char_indices());
    let rest = loop {
        match letters.next()? {
            (at, '\'') if quoted[at + 1..].starts_with('\'') => {
                letters.next();
                value.push('\'');
            }
            (at, '\'') => break &quoted[at + 1..],
            (_, letter) => value.push(letter),
        }
    };
    let type_name = rest.strip_prefix("::")?;
    // Relative times are constants to look at and none to read.
    let is_time = ["now", "today", "tomorrow", "yesterday"].contains(&value.as_str());
    let is_one = !type_name.contains("::") && !type_name.contains(" + ") && !is_time;
    let is_name = |letter: char| letter.is_alphanumeric() || " _.\"()[],".contains(letter);
    (is_one && type_name.chars().all(is_name)).then_some(value)
}

/// A type without its domains.
struct BaseType {
    oid: u32,
    modifier: i32,
    /// `pg_type.typtype`: `b` base, `e` enum, `c` composite, `r` range, `m` multirange.
    kind: char,
    /// The type of an array's elements; 0 where it is none.
    element: u32,
    element_kind: char,
}

impl BaseType {
    /// Whether its equal values have one text. Of what isn't known, no.
    fn is_text_exact(&self) -> bool {
        if self.kind == 'e' || is_exact(self.oid, self.modifier) {
            return true;
        }
        self.element != 0 && (self.element_kind == 'e' || is_exact(self.element, self.modifier))
    }
}

/// Built-in types whose equal values are written alike, by their ids, which never change
/// (`pg_type.dat`). Not among them: `float4` and `float8` (0 and -0), `numeric` without a scale (1.0
/// and 1.00), `character` without a length (blanks at the end), `interval` (1 day and 24 hours),
/// `jsonb` (it holds numerics) and what else isn't listed.
fn is_exact(oid: u32, modifier: i32) -> bool {
    const BPCHAR: u32 = 1042;
    const NUMERIC: u32 = 1700;
    const EXACT: &[u32] = &[
        16,   // bool
        17,   // bytea
        18,   // "char"
        19,   // name
        20,   // int8
        21,   // int2
        23,   // int4
        25,   // text
        26,   // oid
        650,  // cidr
        774,  // macaddr8
        790,  // money
        829,  // macaddr
        869,  // inet
        1043, // varchar
        1082, // date
        1083, // time
        1114, // timestamp
        1184, // timestamptz
        1266, // timetz
        1560, // bit
        1562, // varbit
        2950, // uuid
        3220, // pg_lsn
        5069, // xid8
    ];
    match oid {
        BPCHAR | NUMERIC => modifier >= 0,
        _ => EXACT.contains(&oid),
    }
}

fn add_unique(facts: &mut TableFacts, row: &Row) {
    let index: String = row.get(2);
    let is_primary: bool = row.get(3);
    let numbers: Vec<i16> = row.get(4);
    let count = usize::try_from(row.get::<_, i16>(5)).unwrap_or_default();
    let numbers = &numbers[..count.min(numbers.len())];
    let Some(columns) = places(facts, numbers.iter().filter(|number| **number != 0)) else {
        facts.over_generated.push(index);
        return;
    };
    let is_exclusion: bool = row.get(9);
    if is_primary && !is_exclusion {
        facts.table.key = columns;
        facts.key_name = Some(index);
        facts.key_is_deferrable = row.get(8);
        return;
    }
    // Equal values with different texts collide unseen, like those of expressions.
    let is_opaque = row.get::<_, bool>(6)
        || row.get::<_, bool>(10)
        || columns
            .iter()
            .any(|column| !facts.columns[*column].is_text_exact);
    let is_over_expressions = numbers.contains(&0);
    facts.table.unique.push(Unique {
        name: index,
        columns: if is_over_expressions {
            Vec::new()
        } else {
            columns
        },
        nulls_not_distinct: row.get(1),
        is_opaque,
    });
    facts.unique_definitions.push(row.get(7));
}

fn add_foreign_key(facts: &mut TableFacts, row: &Row) {
    let constraint: String = row.get(1);
    let numbers: Vec<i16> = row.get(2);
    let Some(columns) = places(facts, numbers.iter()) else {
        facts.over_generated.push(constraint);
        return;
    };
    facts.table.references.push(ForeignKey {
        name: constraint,
        columns,
        parent: name(row, 3),
        parent_columns: row.get(5),
        is_deferrable: row.get(6),
    });
    facts.actions.push(Action {
        is_deferred: row.get(7),
        on_delete: letter(row, 8),
        on_update: letter(row, 9),
        is_indexed: row.get(10),
        is_valid: row.get(11),
    });
}

/// Where columns stand, by their numbers; `None` if one isn't there, since it is generated.
fn places<'n>(facts: &TableFacts, numbers: impl Iterator<Item = &'n i16>) -> Option<Vec<usize>> {
    numbers
        .map(|number| {
            facts
                .columns
                .iter()
                .position(|column| column.number == *number)
        })
        .collect()
}

fn trigger(row: &Row) -> Trigger {
    Trigger {
        table: name(row, 1),
        name: row.get(3),
        enabled: letter(row, 4),
        definition: row.get(5),
        is_constraint: row.get(6),
    }
}

fn partition(row: &Row) -> Partition {
    Partition {
        name: name(row, 1),
        identity: identity(letter(row, 3)),
        is_apart: row.get(4),
        is_divided: row.get(5),
    }
}

/// A sequence with its value, as far as the role may see that: only the sequence itself tells it
/// when it hasn't been used yet.
async fn sequence(client: &Client, row: &Row) -> Result<Sequence, ServerError> {
    let name = name(row, 1);
    let (value, is_called) = if row.get(7) {
        let statement = format!("SELECT last_value, is_called FROM {}", name.sql());
        let row = client.query_one(&statement, &[]).await?;
        (Some(row.get(0)), row.get(1))
    } else {
        (None, false)
    };
    Ok(Sequence {
        name,
        column: row.get(3),
        increment: row.get(4),
        value,
        is_called,
        maximum: row.get(5),
        cycles: row.get(6),
        start: row.get(8),
        minimum: row.get(9),
    })
}

#[cfg(test)]
mod literals {
    use super::literal;

    #[test]
    fn a_constant_is_told_from_what_is_computed() {
        for (expression, value) in [
            ("7", "7"),
            ("1.50", "1.50"),
            ("true", "t"),
            ("'-1'::integer", "-1"),
            ("'it''s'::text", "it's"),
            ("'a'::character varying(10)", "a"),
            ("'{}'::text[]", "{}"),
            ("'sad'::public.mood", "sad"),
        ] {
            assert_eq!(literal(expression).as_deref(), Some(value), "{expression}");
        }
        for computed in [
            "now()",
            "nextval('public.s'::regclass)",
            "('now'::text)::date",
            "'now'::date",
            "('a'::text || 'b'::text)",
            "'a'::text || 'b'::text",
            "7 + 1",
            "CURRENT_DATE",
        ] {
            assert_eq!(literal(computed), None, "{computed}");
        }
    }
}
