//! The server's constraints, as far as regions can violate them together.

use super::error::ApplyError;
use super::sql::Index;
use crate::catalog::Table;
use tokio_postgres::Client;

/// Of each table, in the applier's order.
#[derive(Debug)]
pub(super) struct Constraints {
    /// Its unique indexes beside the key, and exclusion constraints.
    indexes: Vec<Vec<Index>>,
    /// Who refers to it: table and place of the foreign key.
    children: Vec<Vec<(usize, usize)>>,
    /// The tables' places, parents first.
    pub(super) parents_first: Vec<usize>,
}

/// Expressions come qualified, since the session's search path is empty; the fourth field is spelt
/// through JSON because versions before 15 lack it. The last one is what an exclusion constraint
/// compares with.
const INDEXES: &str = "\
SELECT c.relname::text,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false)
             FROM generate_series(1, i.indnkeyatts::int) k ORDER BY k),
       pg_get_expr(i.indpred, i.indrelid),
       COALESCE((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       ARRAY(SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
             FROM pg_constraint k
             CROSS JOIN LATERAL unnest(k.conexclop) WITH ORDINALITY u(oid, place)
             JOIN pg_operator o ON o.oid = u.oid
             JOIN pg_namespace n ON n.oid = o.oprnamespace
             WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid
             ORDER BY u.place)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass($1::text) AND (i.indisunique AND NOT i.indisprimary OR i.indisexclusion)
ORDER BY c.relname";

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
                    operators: row.get(4),
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
            children: children(tables),
            parents_first: parents_first(tables),
        })
    }

    pub(super) fn indexes(&self, table: usize) -> &[Index] {
        &self.indexes[table]
    }

    pub(super) fn children(&self, table: usize) -> &[(usize, usize)] {
        &self.children[table]
    }
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
