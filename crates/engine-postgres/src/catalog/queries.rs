//! The questions to `pg_catalog`. Each names everything with its schema, works from version 14 on
//! and needs no privilege. Parameter 1 of all but the first is the tables' ids.

/// Tables that could replicate.
pub(super) const TABLES: &str = "\
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       c.relreplident::text, c.relrowsecurity, c.relforcerowsecurity,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i
               WHERE i.inhrelid = c.oid OR (i.inhparent = c.oid AND c.relkind <> 'p')),
       c.relhasrules, pg_catalog.pg_get_userbyid(c.relowner)::text,
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.has_table_privilege(c.oid, 'INSERT'),
       pg_catalog.has_table_privilege(c.oid, 'UPDATE'),
       pg_catalog.has_table_privilege(c.oid, 'DELETE'),
       pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'meridian')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname";

/// Columns that are there, generated ones excepted; a domain with the type it stands for. Only a table
/// whose rows can become too long has a place for values out of line.
pub(super) const COLUMNS: &str = "\
SELECT a.attrelid, a.attnum, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       NOT (a.attnotnull OR EXISTS (
           SELECT FROM pg_catalog.pg_constraint k
           WHERE k.conrelid = a.attrelid AND k.contype = 'p' AND a.attnum = ANY (k.conkey))),
       a.attidentity::text,
       a.attstorage <> 'p' AND (c.reltoastrelid <> 0 OR c.relkind = 'p'),
       b.oid, b.typmod, b.typtype::text,
       pg_catalog.format_type(b.oid, NULL), t.typtype = 'd',
       b.typelem, COALESCE(e.typtype::text, ''),
       COALESCE(l.collisdeterministic, true),
       CASE WHEN a.attcollation <> t.typcollation THEN l.collname::text END,
       CASE WHEN a.atthasmissing
            THEN (a.attmissingval::pg_catalog.text::pg_catalog.text[])[1] END,
       pg_catalog.pg_get_expr(f.adbin, f.adrelid)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
CROSS JOIN LATERAL (
    WITH RECURSIVE under(oid, typmod, typtype, typbasetype, typtypmod, typelem) AS (
        SELECT t.oid, a.atttypmod, t.typtype, t.typbasetype, t.typtypmod, t.typelem
        UNION ALL
        SELECT d.oid, under.typtypmod, d.typtype, d.typbasetype, d.typtypmod, d.typelem
        FROM under JOIN pg_catalog.pg_type d ON d.oid = under.typbasetype
        WHERE under.typtype = 'd')
    SELECT oid, typmod, typtype, typelem FROM under WHERE typtype <> 'd') b
LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attrelid, a.attnum";

/// Primary keys, unique indexes, and exclusion constraints; the second field is spelt differently
/// before version 15.
pub(super) const UNIQUE: &str = "\
SELECT i.indrelid, {nulls_not_distinct}, c.relname::text, i.indisprimary,
       pg_catalog.string_to_array(i.indkey::text, ' ')::pg_catalog.int2[], i.indnkeyatts,
       i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR i.indisexclusion,
       pg_catalog.pg_get_indexdef(i.indexrelid), COALESCE(k.condeferrable, false),
       i.indisexclusion,
       EXISTS (SELECT FROM pg_catalog.unnest(i.indcollation) o(oid)
               JOIN pg_catalog.pg_collation l ON l.oid = o.oid AND NOT l.collisdeterministic)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k
       ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY ($1) AND (i.indisunique OR i.indisexclusion)
ORDER BY i.indrelid, c.relname";

/// Foreign keys that are enforced (from version 18 on some may not be), and whether an index over all
/// rows begins with their columns, in whatever order; those of partitions are their root's.
pub(super) const FOREIGN_KEYS: &str = "\
SELECT k.conrelid, k.conname::text, k.conkey, n.nspname::text, p.relname::text,
       ARRAY(SELECT a.attname::text
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(number, place)
             JOIN pg_catalog.pg_attribute a
               ON a.attrelid = k.confrelid AND a.attnum = u.number
             ORDER BY u.place),
       k.condeferrable, k.condeferred, k.confdeltype::text, k.confupdtype::text,
       EXISTS (SELECT FROM pg_catalog.pg_index i
               WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                 AND i.indnkeyatts >= pg_catalog.cardinality(k.conkey)
                 AND (pg_catalog.string_to_array(i.indkey::text, ' ')::pg_catalog.int2[])
                     [1:pg_catalog.cardinality(k.conkey)] @> k.conkey),
       k.convalidated
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
WHERE k.conrelid = ANY ($1) AND k.contype = 'f' AND k.conparentid = 0
  AND COALESCE((pg_catalog.to_jsonb(k) ->> 'conenforced')::pg_catalog.bool, true)
ORDER BY k.conrelid, k.conname";

/// CHECK constraints with the columns that they look at.
pub(super) const CHECKS: &str = "\
SELECT k.conrelid, k.conname::text,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) ORDER BY a.attnum)
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY ($1) AND k.contype = 'c'
ORDER BY k.conrelid, k.conname";

/// Enabled triggers, of the tables and of their partitions; a partition's copy of its root's not.
pub(super) const TRIGGERS: &str = "\
SELECT u.root, n.nspname::text, c.relname::text, g.tgname::text, g.tgenabled::text,
       pg_catalog.pg_get_triggerdef(g.oid), g.tgconstraint <> 0
FROM (SELECT o.oid AS root, o.oid AS member FROM pg_catalog.unnest($1::pg_catalog.oid[]) o(oid)
      UNION
      SELECT o.oid, t.relid FROM pg_catalog.unnest($1::pg_catalog.oid[]) o(oid)
      CROSS JOIN LATERAL pg_catalog.pg_partition_tree(o.oid) t) u
JOIN pg_catalog.pg_trigger g ON g.tgrelid = u.member
JOIN pg_catalog.pg_class c ON c.oid = u.member
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgparentid = 0
ORDER BY u.root, n.nspname, c.relname, g.tgname";

/// Partitions of every level.
pub(super) const PARTITIONS: &str = "\
SELECT o.oid, n.nspname::text, c.relname::text, c.relreplident::text,
       c.relkind = 'f' OR c.relpersistence = 'u', c.relkind = 'p'
FROM pg_catalog.unnest($1::pg_catalog.oid[]) o(oid)
CROSS JOIN LATERAL pg_catalog.pg_partition_tree(o.oid) t
JOIN pg_catalog.pg_class c ON c.oid = t.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.relid <> o.oid
ORDER BY o.oid, n.nspname, c.relname";

/// Sequences that columns own or take their default from.
pub(super) const SEQUENCES: &str = "\
SELECT DISTINCT u.root, n.nspname::text, c.relname::text, a.attname::text,
       q.seqincrement, q.seqmax, q.seqcycle,
       pg_catalog.has_sequence_privilege(c.oid, 'SELECT'), q.seqstart, q.seqmin
FROM (SELECT d.refobjid AS root, d.refobjsubid AS number, d.objid AS sequence
      FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND d.refobjid = ANY ($1)
      UNION
      SELECT f.adrelid, f.adnum, d.refobjid
      FROM pg_catalog.pg_attrdef f
      JOIN pg_catalog.pg_depend d ON d.objid = f.oid
       AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      WHERE f.adrelid = ANY ($1)) u
JOIN pg_catalog.pg_class c ON c.oid = u.sequence AND c.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = u.root AND a.attnum = u.number
ORDER BY u.root, n.nspname::text, c.relname::text, a.attname::text";
