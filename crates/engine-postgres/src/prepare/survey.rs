//! Reading everything that decides.

use super::judge::Plan;
use super::role::RDS_REPLICATION;
use super::sequence::{SLOTS as STEP, next_value, remainder};
use crate::catalog::{Catalog, History, Privileges, Sequence, TableFacts, TableName, quoted};
use crate::names;
use crate::server::ServerError;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// A server as it is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// When the server was started, in microseconds, and the database's number in it: two regions with the
    /// same have one database. (Servers made of copies of each other's files have one identifier.)
    pub place: (i64, u32),
    /// Its version: 150004 is 15.4.
    pub version: i32,
    /// `wal_level`.
    pub wal_level: String,
    /// The database.
    pub database: String,
    /// The database's encoding.
    pub encoding: String,
    /// The database's collation, with its provider's locale.
    pub collation: String,
    /// Whether it is a standby.
    pub is_in_recovery: bool,
    /// Whether it is run by Amazon RDS or Aurora.
    pub is_rds: bool,
    /// `max_replication_slots`.
    pub slots_max: i64,
    /// The slots that there are.
    pub slots: Vec<Slot>,
    /// `max_wal_senders`.
    pub senders_max: i64,
    /// How many WAL senders run.
    pub senders: i64,
    /// The role that Meridian connects as; `None` if there is none.
    pub role: Option<Role>,
    /// The dataset's publication, if it is there.
    pub publication: Option<Publication>,
    /// Meridian's own schema.
    pub own: Own,
    /// What was noted of columns; `None` where there is no table for that.
    pub history: Option<History>,
    /// The dataset's tables; the privileges are the role's.
    pub catalog: Catalog,
    /// By table, other tables that its foreign keys refer to and that the role may not read.
    pub unread_parents: BTreeMap<TableName, Vec<Unread>>,
    /// By table and column, the greatest value in a column that takes from a sequence and begins
    /// the primary key.
    pub greatest: BTreeMap<(String, String), i64>,
    /// By table and column, the greatest value in the column that its sequence is still to give,
    /// where it has some.
    pub ahead: BTreeMap<(String, String), i64>,
}

/// A table that the role may not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The table.
    pub name: TableName,
    /// Whether the role may use its schema.
    pub has_schema: bool,
    /// Whether who asks may let it.
    pub is_ours: bool,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether somebody reads it.
    pub is_active: bool,
    /// Why it can't be read, if so.
    pub trouble: Option<String>,
}

/// What the role may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Log in.
    pub can_login: bool,
    /// Read the WAL.
    pub can_replicate: bool,
    /// Connect to the database.
    pub can_connect: bool,
    /// See all rows, policies or not.
    pub bypasses_policies: bool,
}

/// A publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// `FOR ALL TABLES`.
    pub is_for_all: bool,
    /// All four kinds of change, and partitions as their root.
    pub publishes_all: bool,
    /// Whether it leaves out rows or columns of a table.
    pub is_partial: bool,
    /// Whether it takes whole schemas.
    pub takes_schemas: bool,
    /// Its tables.
    pub tables: Vec<TableName>,
}

/// What there is of Meridian's own schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The schema.
    pub has_schema: bool,
    /// The role may use it.
    pub role_uses_schema: bool,
    /// The table with positions.
    pub has_position: bool,
    /// The role may read and write it.
    pub role_writes_position: bool,
    /// The table with rows kept out.
    pub has_parked: bool,
    /// Whether the role may write it.
    pub role_writes_parked: bool,
}

const SERVER: &str = "\
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
       pg_catalog.current_setting('wal_level'),
       d.datname::text, pg_catalog.pg_encoding_to_char(d.encoding)::text,
       d.datcollate::text || ' ' || d.datctype::text,
       pg_catalog.pg_is_in_recovery(),
       EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_superuser'),
       pg_catalog.current_setting('max_replication_slots')::pg_catalog.int8,
       pg_catalog.current_setting('max_wal_senders')::pg_catalog.int8,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication),
       (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
       d.oid
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

const SLOTS: &str = "\
SELECT slot_name::text, active, plugin::text, database::text,
       database = pg_catalog.current_database(), wal_status
FROM pg_catalog.pg_replication_slots ORDER BY slot_name";

const ROLE: &str = "\
SELECT r.rolcanlogin,
       r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT FROM pg_catalog.pg_roles g
           WHERE g.rolname = $2 AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE')),
       pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT'),
       r.rolsuper OR r.rolbypassrls
FROM pg_catalog.pg_roles r WHERE r.rolname = $1";

const PUBLICATION: &str = "\
SELECT p.oid, p.puballtables,
       p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4
FROM pg_catalog.pg_publication p WHERE p.pubname = $1";

const PUBLICATION_TABLES: &str = "\
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_publication_rel r
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.prpubid = $1 ORDER BY n.nspname, c.relname";

/// From version 15 on.
const PUBLICATION_PARTS: &str = "\
SELECT EXISTS (SELECT FROM pg_catalog.pg_publication_rel r
               WHERE r.prpubid = $1 AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)),
       EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n WHERE n.pnpubid = $1)";

const OWN: &str = "\
SELECT n.oid IS NOT NULL,
       COALESCE(pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'), false),
       c.oid IS NOT NULL,
       COALESCE(pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')
            AND pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT')
            AND pg_catalog.has_table_privilege(r.oid, c.oid, 'UPDATE')
            AND pg_catalog.has_table_privilege(r.oid, c.oid, 'DELETE'), false)
FROM (SELECT) one
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $1
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $2
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = $3";

const PRIVILEGES: &str = "\
SELECT o.oid, pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'),
       pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT'),
       pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT'),
       pg_catalog.has_table_privilege(r.oid, c.oid, 'UPDATE'),
       pg_catalog.has_table_privilege(r.oid, c.oid, 'DELETE'),
       pg_catalog.has_table_privilege(r.oid, c.oid, 'TRUNCATE'),
       pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE')
FROM pg_catalog.unnest($1::pg_catalog.oid[]) o(oid)
JOIN pg_catalog.pg_class c ON c.oid = o.oid
JOIN pg_catalog.pg_roles r ON r.rolname = $2";

/// Reads all that decides about this server. Writes nothing.
///
/// # Errors
/// [`ServerError`].
pub async fn survey(client: &Client, plan: &Plan) -> Result<Survey, ServerError> {
    let server = client.query_one(SERVER, &[]).await?;
    let mut survey = Survey {
        place: (server.get(10), server.get(11)),
        version: server.get(0),
        wal_level: server.get(1),
        database: server.get(2),
        encoding: server.get(3),
        collation: server.get(4),
        is_in_recovery: server.get(5),
        is_rds: server.get(6),
        slots_max: server.get(7),
        senders_max: server.get(8),
        senders: server.get(9),
        slots: slots(client).await?,
        role: role(client, &plan.role).await?,
        own: own(client, &plan.role).await?,
        catalog: Catalog::default(),
        unread_parents: BTreeMap::new(),
        greatest: BTreeMap::new(),
        ahead: BTreeMap::new(),
        publication: None,
        history: History::load(client).await?,
    };
    survey.publication = publication(client, &names::of_dataset(&plan.dataset)).await?;
    let catalog = Catalog::load(client, &plan.selection).await?;
    survey.greatest = greatest(client, &catalog).await?;
    survey.ahead = ahead(client, &catalog).await?;
    survey.unread_parents = unread_parents(client, &catalog, &plan.role).await?;
    survey.catalog = as_role(client, catalog, &plan.role).await?;
    Ok(survey)
}

async fn slots(client: &Client) -> Result<Vec<Slot>, ServerError> {
    let rows = client.query(SLOTS, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let plugin: Option<&str> = row.get(2);
            let database: Option<&str> = row.get(3);
            let here: Option<bool> = row.get(4);
            let wal: Option<&str> = row.get(5);
            let trouble = if plugin != Some("pgoutput") {
                Some("a slot of this name is there, but not one of pgoutput".to_owned())
            } else if here != Some(true) {
                Some(format!(
                    "a slot of this name is there, but for database {}",
                    database.unwrap_or_default()
                ))
            } else if wal == Some("lost") {
                Some("its WAL was removed before it was read (max_slot_wal_keep_size)".to_owned())
            } else {
                None
            };
            Slot {
                name: row.get(0),
                is_active: row.get(1),
                trouble,
            }
        })
        .collect())
}

async fn role(client: &Client, role: &str) -> Result<Option<Role>, ServerError> {
    let row = client.query_opt(ROLE, &[&role, &RDS_REPLICATION]).await?;
    Ok(row.map(|row| Role {
        can_login: row.get(0),
        can_replicate: row.get(1),
        can_connect: row.get(2),
        bypasses_policies: row.get(3),
    }))
}

async fn own(client: &Client, role: &str) -> Result<Own, ServerError> {
    let (table, parked) = (names::position_table(), names::parked_table());
    let row = client
        .query_one(OWN, &[&role, &table.schema, &table.name])
        .await?;
    let parked = client
        .query_one(OWN, &[&role, &parked.schema, &parked.name])
        .await?;
    Ok(Own {
        has_schema: row.get(0),
        role_uses_schema: row.get(1),
        has_position: row.get(2),
        role_writes_position: row.get(3),
        has_parked: parked.get(2),
        role_writes_parked: parked.get(3),
    })
}

/// The publication of this name.
///
/// # Errors
/// [`ServerError`].
pub async fn publication(client: &Client, name: &str) -> Result<Option<Publication>, ServerError> {
    const PARTS_SINCE: i32 = 150_000;
    let Some(row) = client.query_opt(PUBLICATION, &[&name]).await? else {
        return Ok(None);
    };
    let oid: u32 = row.get(0);
    let tables = client.query(PUBLICATION_TABLES, &[&oid]).await?;
    let version: i32 = row.get(3);
    let (is_partial, takes_schemas) = if version >= PARTS_SINCE {
        let parts = client.query_one(PUBLICATION_PARTS, &[&oid]).await?;
        (parts.get(0), parts.get(1))
    } else {
        (false, false)
    };
    Ok(Some(Publication {
        is_for_all: row.get(1),
        publishes_all: row.get(2),
        is_partial,
        takes_schemas,
        tables: tables
            .iter()
            .map(|row| TableName {
                schema: row.get(0),
                name: row.get(1),
            })
            .collect(),
    }))
}

/// Only where the primary key's index answers at once, and as far as whoever asks may look.
async fn greatest(
    client: &Client,
    catalog: &Catalog,
) -> Result<BTreeMap<(String, String), i64>, ServerError> {
    let mut greatest = BTreeMap::new();
    for facts in catalog.tables() {
        for sequence in &facts.sequences {
            if !leads_key(facts, sequence) || !facts.privileges.select || !facts.privileges.schema {
                continue;
            }
            let statement = format!(
                "SELECT pg_catalog.max({})::pg_catalog.int8 FROM {}",
                quoted(&sequence.column),
                facts.table.name.sql()
            );
            let value: Option<i64> = client.query_one(&statement, &[]).await?.get(0);
            if let Some(value) = value {
                let slot = (facts.table.name.to_string(), sequence.column.clone());
                greatest.insert(slot, value);
            }
        }
    }
    Ok(greatest)
}

/// Only where a unique index answers, which is where a value that comes twice is refused.
async fn ahead(
    client: &Client,
    catalog: &Catalog,
) -> Result<BTreeMap<(String, String), i64>, ServerError> {
    let mut ahead = BTreeMap::new();
    for facts in catalog.tables() {
        for sequence in &facts.sequences {
            let coming = next_value(sequence).zip(remainder(sequence));
            let Some((next, remainder)) = coming else {
                continue;
            };
            let may_look = facts.privileges.select && facts.privileges.schema;
            if !may_look || !leads_unique(facts, sequence) {
                continue;
            }
            let column = quoted(&sequence.column);
            let statement = format!(
                "SELECT pg_catalog.max({column})::pg_catalog.int8 FROM {} WHERE {column} >= {next} \
                 AND (({column}::pg_catalog.int8 % {STEP}) + {STEP}) % {STEP} = {remainder}",
                facts.table.name.sql()
            );
            let value: Option<i64> = client.query_one(&statement, &[]).await?.get(0);
            if let Some(value) = value {
                let slot = (facts.table.name.to_string(), sequence.column.clone());
                ahead.insert(slot, value);
            }
        }
    }
    Ok(ahead)
}

fn leads_unique(facts: &TableFacts, sequence: &Sequence) -> bool {
    let mut uniques = facts.table.unique.iter();
    let leads = |first: Option<&usize>| {
        first.is_some_and(|first| facts.table.columns[*first].name == sequence.column)
    };
    let is_whole = facts
        .column(&sequence.column)
        .is_some_and(|column| WHOLE.contains(&column.base_type.as_str()));
    let leads_one = leads_key(facts, sequence) || uniques.any(|it| leads(it.columns.first()));
    is_whole && leads_one
}

const WHOLE: [&str; 3] = ["bigint", "integer", "smallint"];

fn leads_key(facts: &TableFacts, sequence: &Sequence) -> bool {
    facts.table.key.first().is_some_and(|first| {
        let column = &facts.table.columns[*first];
        column.name == sequence.column && WHOLE.contains(&facts.columns[*first].base_type.as_str())
    })
}

const UNREAD_PARENTS: &str = "\
SELECT DISTINCT k.conrelid, n.nspname::text, p.relname::text, may.use,
       pg_catalog.pg_has_role(p.relowner, 'USAGE')
       AND (may.use OR pg_catalog.pg_has_role(n.nspowner, 'USAGE'))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $2
CROSS JOIN LATERAL (SELECT
    COALESCE(pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'), false) AS use,
    COALESCE((SELECT pg_catalog.bool_and(
                  pg_catalog.has_column_privilege(r.oid, p.oid, u.number, 'SELECT'))
              FROM pg_catalog.unnest(k.confkey) u(number)), false) AS read) may
WHERE k.conrelid = ANY ($1) AND k.contype = 'f' AND k.conparentid = 0 AND k.confrelid <> k.conrelid
  AND COALESCE((pg_catalog.to_jsonb(k) ->> 'conenforced')::pg_catalog.bool, true)
  AND NOT (may.use AND may.read)
ORDER BY k.conrelid, n.nspname::text, p.relname::text";

async fn unread_parents(
    client: &Client,
    catalog: &Catalog,
    role: &str,
) -> Result<BTreeMap<TableName, Vec<Unread>>, ServerError> {
    let children: BTreeMap<u32, &TableName> = catalog
        .tables()
        .map(|facts| (facts.oid, &facts.table.name))
        .collect();
    let oids: Vec<u32> = children.keys().copied().collect();
    let mut unread: BTreeMap<TableName, Vec<Unread>> = BTreeMap::new();
    for row in client.query(UNREAD_PARENTS, &[&oids, &role]).await? {
        let Some(child) = children.get(&row.get(0)) else {
            continue;
        };
        let name = TableName {
            schema: row.get(1),
            name: row.get(2),
        };
        let parents = unread.entry((*child).clone()).or_default();
        parents.push(Unread {
            name,
            has_schema: row.get(3),
            is_ours: row.get(4),
        });
    }
    Ok(unread)
}

/// The same tables with what the role may do, rather than whoever asks.
async fn as_role(client: &Client, catalog: Catalog, role: &str) -> Result<Catalog, ServerError> {
    let oids: Vec<u32> = catalog.tables().map(|facts| facts.oid).collect();
    let rows = client.query(PRIVILEGES, &[&oids, &role]).await?;
    let mut privileges: BTreeMap<u32, Privileges> = rows
        .iter()
        .map(|row| {
            let privileges = Privileges {
                owns: row.get(1),
                select: row.get(2),
                insert: row.get(3),
                update: row.get(4),
                delete: row.get(5),
                truncate: row.get(6),
                schema: row.get(7),
            };
            (row.get(0), privileges)
        })
        .collect();
    Ok(Catalog::of(catalog.tables().cloned().map(|mut facts| {
        facts.privileges = privileges.remove(&facts.oid).unwrap_or_default();
        facts
    })))
}
