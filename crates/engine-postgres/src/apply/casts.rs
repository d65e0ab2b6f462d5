//! What the columns' texts are cast to.
//!
//! A cast to `varchar(3)`, or to a domain over it, cuts what is longer, and silently; an assignment to
//! such a column refuses it. So texts are cast to the type without length and beneath all domains,
//! and the assignment does the rest.

use super::error::ApplyError;
use crate::catalog::Table;
use std::collections::HashMap;
use tokio_postgres::Client;

/// A length that is given as unknown makes `character` and `bit` be spelt so that they have none.
const CASTS: &str = "\
WITH RECURSIVE base(name, type) AS (
    SELECT a.attname, a.atttypid FROM pg_attribute a
    WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.name, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type
    WHERE t.typtype = 'd')
SELECT b.name::text, format_type(b.type, -1)
FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype <> 'd'";

/// The tables with the types to cast to instead of their columns' own.
pub(crate) async fn for_casts(
    client: &Client,
    mut tables: Vec<Table>,
) -> Result<Vec<Table>, ApplyError> {
    let failed = || ApplyError::server("read the columns' types");
    let statement = client.prepare(CASTS).await.map_err(failed())?;
    for table in &mut tables {
        let name = table.name.sql();
        let rows = client.query(&statement, &[&name]).await.map_err(failed())?;
        let casts: HashMap<String, String> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for column in &mut table.columns {
            if let Some(cast) = casts.get(&column.name) {
                column.type_name.clone_from(cast);
            }
        }
    }
    Ok(tables)
}
