//! Whether anything in the catalog moved: one cheap question, instead of all of them.
//!
//! A row of the catalog that changes carries a new, higher transaction id. So as long as a catalog has
//! as many rows as before and the ids have the same sum, nothing was made, changed or dropped there;
//! what stands in the same row without a new id (statistics of VACUUM and ANALYZE) is nothing that
//! counts. A false alarm costs a reading of the catalog.

use crate::server::ServerError;
use tokio_postgres::Client;

/// What a catalog comes to; equal to another of the same server if nothing moved in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement(Vec<(i64, i64)>);

/// Counts and sums by catalog, of what belongs to tables of users (their ids begin at 16384).
const MOVEMENT: &str = "\
WITH tables AS MATERIALIZED (
    SELECT c.oid, c.xmin FROM pg_catalog.pg_class c
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't')
SELECT 1, pg_catalog.count(*), COALESCE(pg_catalog.sum(xmin::text::int8), 0)::int8 FROM tables
UNION ALL
SELECT 2, pg_catalog.count(*), COALESCE(pg_catalog.sum(a.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_attribute a JOIN tables t ON t.oid = a.attrelid WHERE a.attnum > 0
UNION ALL
SELECT 3, pg_catalog.count(*), COALESCE(pg_catalog.sum(i.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_index i JOIN tables t ON t.oid = i.indrelid
UNION ALL
SELECT 4, pg_catalog.count(*), COALESCE(pg_catalog.sum(k.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_constraint k JOIN tables t ON t.oid = k.conrelid
UNION ALL
SELECT 5, pg_catalog.count(*), COALESCE(pg_catalog.sum(f.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_attrdef f JOIN tables t ON t.oid = f.adrelid
UNION ALL
SELECT 6, pg_catalog.count(*), COALESCE(pg_catalog.sum(p.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_publication_rel p
UNION ALL
SELECT 9, pg_catalog.count(*), COALESCE(pg_catalog.sum(p.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_publication p
UNION ALL
SELECT 10, pg_catalog.count(*), COALESCE(pg_catalog.sum(g.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_trigger g JOIN tables t ON t.oid = g.tgrelid
UNION ALL
SELECT 7, pg_catalog.count(*), COALESCE(pg_catalog.sum(n.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_'
UNION ALL
SELECT 8, pg_catalog.count(*), COALESCE(pg_catalog.sum(y.xmin::text::int8), 0)::int8
FROM pg_catalog.pg_type y WHERE y.oid >= 16384 AND y.typtype IN ('d', 'e')
ORDER BY 1";

const COLUMNS: &str = "SELECT pg_catalog.count(*), \
    COALESCE(pg_catalog.sum(c.xmin::text::int8), 0)::int8 FROM meridian.columns c";

impl Movement {
    /// Asks for it.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn read(client: &Client) -> Result<Self, ServerError> {
        let rows = client.query(MOVEMENT, &[]).await?;
        let rows = rows.iter().map(|row| (row.get(1), row.get(2)));
        let mut moved: Vec<(i64, i64)> = rows.collect();
        if super::history::is_readable(client).await? {
            let row = client.query_one(COLUMNS, &[]).await?;
            moved.push((row.get(0), row.get(1)));
        }
        Ok(Self(moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Cluster;
    use crate::server;

    #[tokio::test]
    async fn whatever_changes_a_table_moves_it_and_rows_do_not() {
        let cluster = Cluster::temporary().unwrap();
        let owner = cluster.create_database_of("shop", "owner").await.unwrap();
        let client = server::connect(&owner, "test").await.unwrap();
        let mut last = Movement::read(&client).await.unwrap();
        for sql in [
            "CREATE TABLE public.t (id int PRIMARY KEY, a int, b varchar(5))",
            "ALTER TABLE public.t ADD COLUMN c int",
            "ALTER TABLE public.t RENAME COLUMN c TO d",
            "ALTER TABLE public.t ALTER COLUMN b TYPE text",
            "ALTER TABLE public.t ALTER COLUMN a SET NOT NULL",
            "ALTER TABLE public.t ALTER COLUMN a SET DEFAULT 7",
            "CREATE UNIQUE INDEX i ON public.t (a)",
            "ALTER TABLE public.t DROP COLUMN d",
            "ALTER TABLE public.t REPLICA IDENTITY FULL",
            "CREATE PUBLICATION p FOR TABLE public.t",
            "ALTER PUBLICATION p SET (publish = 'insert')",
            "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER g BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()",
            "ALTER TABLE public.t DISABLE TRIGGER g",
            "ALTER TABLE public.t DROP CONSTRAINT t_pkey",
            "DROP TABLE public.t; CREATE TABLE public.t (id int)",
        ] {
            client.batch_execute(sql).await.unwrap();
            let now = Movement::read(&client).await.unwrap();
            assert_ne!(now, last, "{sql}");
            last = now;
        }
        client
            .batch_execute(
                "INSERT INTO public.t SELECT generate_series(1, 5000); UPDATE public.t SET id = -id; \
                 ANALYZE public.t; CREATE TEMPORARY TABLE x (id int PRIMARY KEY)",
            )
            .await
            .unwrap();
        client.batch_execute("VACUUM public.t").await.unwrap();
        assert_eq!(Movement::read(&client).await.unwrap(), last);
    }
}
