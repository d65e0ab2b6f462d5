//! The server's constraints, as far as regions can violate them together.

use super::error::ApplyError;
use super::sql::{Comparison, Index};
use crate::catalog::Table;
use std::collections::HashMap;
use tokio_postgres::Client;

/// Of each table, in the applier's order.
#[derive(Debug)]
pub(super) struct Constraints {
    /// Its unique indexes beside the key, and exclusion constraints.
    indexes: Vec<Vec<Index>>,
    /// By what the columns of its foreign keys are compared.
    references: Vec<Vec<Vec<Comparison>>>,
    /// Who refers to it: table and place of the foreign key.
    children: Vec<Vec<(usize, usize)>>,
    /// The tables' places, parents first.
    pub(super) parents_first: Vec<usize>,
}

/// Expressions come qualified, since the session's search path is empty; the fourth field is spelt
/// through JSON because versions before 15 lack it. The last two are the operators and collations by
/// which values exclude each other: a type's own `=` is found by its name only where its schema is
/// searched. An index that a partition has by itself holds for its rows alone.
const INDEXES: &str = "\
SELECT c.relname::text,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false)
             FROM generate_series(1, i.indnkeyatts::int) k ORDER BY k),
       CASE WHEN i.indrelid = to_regclass($1::text) THEN pg_get_expr(i.indpred, i.indrelid)
            ELSE concat_ws(' AND ', pg_get_expr(i.indpred, i.indrelid),
                           pg_get_partition_constraintdef(i.indrelid)) END,
       COALESCE((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       ARRAY(SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
             FROM (SELECT u.place, u.oid
                   FROM pg_constraint k
                   CROSS JOIN LATERAL unnest(k.conexclop) WITH ORDINALITY u(oid, place)
                   WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid
                   UNION ALL
                   SELECT u.place, m.amopopr
                   FROM unnest(i.indclass::oid[]) WITH ORDINALITY u(class, place)
                   JOIN pg_opclass s ON s.oid = u.class
                   JOIN pg_amop m ON m.amopfamily = s.opcfamily AND m.amopstrategy = 3
                    AND m.amoplefttype = s.opcintype AND m.amoprighttype = s.opcintype
                   WHERE NOT i.indisexclusion) u
             JOIN pg_operator o ON o.oid = u.oid
             JOIN pg_namespace n ON n.oid = o.oprnamespace
             ORDER BY u.place),
       ARRAY(SELECT CASE WHEN l.oid IS NULL THEN ''
                         ELSE format(' COLLATE %I.%I', n.nspname, l.collname) END
             FROM unnest(i.indcollation::oid[]) WITH ORDINALITY u(oid, place)
             LEFT JOIN pg_collation l ON l.oid = u.oid
             LEFT JOIN pg_namespace n ON n.oid = l.collnamespace
             ORDER BY u.place)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE (i.indrelid = to_regclass($1::text)
       OR i.indrelid IN (SELECT t.relid FROM pg_partition_tree(to_regclass($1::text)) t)
       AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid))
  AND (i.indisunique AND NOT i.indisprimary OR i.indisexclusion)
ORDER BY c.relname";

/// By what a foreign key's columns are compared, in their order.
const REFERENCES: &str = "\
SELECT k.conname::text,
       ARRAY(SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
             FROM unnest(k.conpfeqop) WITH ORDINALITY u(oid, place)
             JOIN pg_operator o ON o.oid = u.oid
             JOIN pg_namespace n ON n.oid = o.oprnamespace
             ORDER BY u.place),
       ARRAY(SELECT CASE WHEN l.oid IS NULL THEN ''
                         ELSE format(' COLLATE %I.%I', n.nspname, l.collname) END
             FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
             LEFT JOIN pg_collation l ON l.oid = a.attcollation
             LEFT JOIN pg_namespace n ON n.oid = l.collnamespace
             ORDER BY u.place)
FROM pg_constraint k
WHERE k.conrelid = to_regclass($1::text) AND k.contype = 'f'";

impl Constraints {
    pub(super) async fn load(client: &Client, tables: &[Table]) -> Result<Self, ApplyError> {
        let failed = || ApplyError::server("read the unique indexes");
        let statement = client.prepare(INDEXES).await.map_err(failed())?;
        let mut indexes = Vec::with_capacity(tables.len());
        for table in tables {
            let name = table.name.sql();
            let rows = client.query(&statement, &[&name]).await.map_err(failed())?;
            let mut usable = Vec::new();
            for row in rows {
                let index = Index {
                    name: row.get(0),
                    expressions: row.get(1),
                    predicate: row.get(2),
                    nulls_not_distinct: row.get(3),
                    comparisons: Comparison::all(row.get(4), row.get(5)),
                };
                // One over generated columns can't be asked about the batch's rows; what collides
                // there is found as refused.
                if client.prepare(&index.rivals(table)).await.is_ok() {
                    usable.push(index);
                }
            }
            indexes.push(usable);
        }
        Ok(Self {
            indexes,
            references: references(client, tables).await?,
            children: children(tables),
            parents_first: parents_first(tables),
        })
    }

    pub(super) fn indexes(&self, table: usize) -> &[Index] {
        &self.indexes[table]
    }

    /// By what the columns of a foreign key are compared.
    pub(super) fn comparisons(&self, table: usize, reference: usize) -> &[Comparison] {
        &self.references[table][reference]
    }

    pub(super) fn children(&self, table: usize) -> &[(usize, usize)] {
        &self.children[table]
    }
}

async fn references(
    client: &Client,
    tables: &[Table],
) -> Result<Vec<Vec<Vec<Comparison>>>, ApplyError> {
    let failed = || ApplyError::server("read the foreign keys");
    let statement = client.prepare(REFERENCES).await.map_err(failed())?;
    let mut references = Vec::with_capacity(tables.len());
    for table in tables {
        let name = table.name.sql();
        let rows = client.query(&statement, &[&name]).await.map_err(failed())?;
        let rows = rows.iter();
        let mut found: HashMap<String, Vec<Comparison>> = rows
            .map(|row| (row.get(0), Comparison::all(row.get(1), row.get(2))))
            .collect();
        let own = table.references.iter();
        // One that was dropped just now: the table is read again.
        references.push(
            own.map(|it| found.remove(&it.name).unwrap_or_default())
                .collect(),
        );
    }
    Ok(references)
}

fn children(tables: &[Table]) -> Vec<Vec<(usize, usize)>> {
    tables
        .iter()
        .map(|parent| {
            tables
                .iter()
                .enumerate()
                .flat_map(|(place, child)| {
                    child
                        .references
                        .iter()
                        .enumerate()
                        .filter(|(_, reference)| reference.parent == parent.name)
                        .map(move |(number, _)| (place, number))
                })
                .collect()
        })
        .collect()
}

/// Each table after those it refers to; where they go in a circle, the first of them begins.
fn parents_first(tables: &[Table]) -> Vec<usize> {
    let mut waiting: Vec<usize> = (0..tables.len()).collect();
    let mut order = Vec::with_capacity(tables.len());
    while !waiting.is_empty() {
        let is_free = |place: &usize| {
            tables[*place].references.iter().all(|reference| {
                !waiting
                    .iter()
                    .any(|other| other != place && tables[*other].name == reference.parent)
            })
        };
        let next = waiting.iter().position(is_free).unwrap_or(0);
        order.push(waiting.remove(next));
    }
    order
}
