-- What decides whether a statement means the same when it is run again. `volatile`: functions of users that may write,
-- aggregates of such functions with them, but none of extensions that are known to change nothing; `caller`: objects
-- that call one, by a pg_depend that is not made for PostgreSQL's own functions.
WITH RECURSIVE volatile (id) AS (
    SELECT oid FROM pg_proc WHERE oid >= 16384 AND provolatile = 'v' AND oid NOT IN (
        SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
        WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
          AND e.extname IN ('uuid-ossp', 'pgcrypto', 'pg_stat_statements', 'pg_trgm'))
    UNION SELECT a.aggfnoid::oid FROM pg_aggregate a JOIN pg_proc f
        ON f.oid IN (aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn)
        WHERE f.oid >= 16384 AND f.provolatile = 'v'
), caller (class, id) AS (
    SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_proc'::regclass AND refobjid IN (SELECT id FROM volatile)
    UNION SELECT classid, objid FROM pg_depend JOIN pg_operator o ON o.oid = refobjid
        WHERE refclassid = 'pg_operator'::regclass AND o.oprcode::oid IN (SELECT id FROM volatile)
), calling (id) AS (
    SELECT conrelid FROM pg_constraint WHERE ('pg_constraint'::regclass, oid) IN (SELECT * FROM caller)
    UNION SELECT indrelid FROM pg_index WHERE ('pg_class'::regclass, indexrelid) IN (SELECT * FROM caller)
    UNION SELECT d.adrelid FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE a.attgenerated <> '' AND ('pg_attrdef'::regclass, d.oid) IN (SELECT * FROM caller)
), restless (id) AS (
    SELECT ev_class FROM pg_rewrite WHERE ('pg_rewrite'::regclass, oid) IN (SELECT * FROM caller)
    UNION SELECT polrelid FROM pg_policy WHERE ('pg_policy'::regclass, oid) IN (SELECT * FROM caller)
    UNION SELECT oid FROM pg_class WHERE relkind IN ('v', 'm') AND oid >= 16384 AND pg_get_viewdef(oid) ~
        '\m(lo_\w+|lowrite|loread|set_config|ts_stat|ts_rewrite|\w+_to_xml\w*|pg_import_\w+|binary_upgrade_\w+|pg_(restore|clear)_\w+)"?\s*\('
    UNION SELECT r.ev_class FROM restless JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = restless.id
        JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
), extended (id) AS (
    SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e'
), users_space (id, name) AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
-- :relations
, indexes (id, key, further, late) AS (
    SELECT indrelid, max(CASE WHEN indisprimary AND indimmediate AND indisvalid AND NOT indisexclusion THEN indkey::text END),
           bool_or((indisunique AND NOT indisprimary) OR indisexclusion OR (indisprimary AND NOT (indimmediate AND indisvalid))),
           bool_or(NOT indimmediate)
    FROM pg_index WHERE indisunique OR indisexclusion GROUP BY 1
), triggers (id, events) AS (
    SELECT tgrelid, array_agg(DISTINCT e.name)
    FROM pg_trigger JOIN (VALUES (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE'), (32, 'TRUNCATE')) e (bit, name)
        ON tgtype & e.bit <> 0
    WHERE NOT tgisinternal AND tgenabled <> 'D' GROUP BY 1
), referred (id, on_delete, on_update) AS (
    SELECT confrelid, bool_or(confdeltype IN ('c', 'n', 'd')),
           array_agg(DISTINCT a.attname::text) FILTER (WHERE confupdtype IN ('c', 'n', 'd'))
    FROM pg_constraint JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = ANY (confkey)
    WHERE contype = 'f' GROUP BY 1
)
SELECT s.name, c.relname, c.relkind,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum = ANY (string_to_array(i.key, ' ')::int2[]) ORDER BY a.attnum),
       t.events, r.on_update,
       coalesce(i.further, false), coalesce(i.late, false),
       EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN'),
       c.relrowsecurity, c.oid IN (SELECT id FROM restless), c.oid IN (SELECT id FROM calling),
       EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = c.oid AND ('pg_attrdef'::regclass, d.oid) IN (SELECT * FROM caller)),
       c.relkind = 'p' OR c.relispartition OR c.oid IN (SELECT inhrelid FROM pg_inherits) OR c.oid IN (SELECT inhparent FROM pg_inherits),
       c.oid IN (SELECT inhparent FROM pg_inherits),
       c.relpersistence = 'u', s.name = '_pgkeep' OR c.oid IN (SELECT id FROM extended), coalesce(r.on_delete, false)
FROM pg_class c JOIN users_space s ON s.id = c.relnamespace
    LEFT JOIN indexes i ON i.id = c.oid LEFT JOIN triggers t ON t.id = c.oid LEFT JOIN referred r ON r.id = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
-- :columns
, database (provider, locale, bytewise) AS (
    SELECT coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'), to_jsonb(d) ->> 'datlocale', d.datcollate IN ('C', 'POSIX')
    FROM pg_database d WHERE d.datname = current_database()
), collating (id, equal, bytewise) AS (
    SELECT k.oid, k.collisdeterministic,
           CASE k.collprovider WHEN 'c' THEN k.collcollate IN ('C', 'POSIX')
                WHEN 'b' THEN coalesce(to_jsonb(k) ->> 'colllocale', '') IN ('C', 'C.UTF-8')
                WHEN 'd' THEN CASE d.provider WHEN 'c' THEN d.bytewise WHEN 'b' THEN d.locale IN ('C', 'C.UTF-8') ELSE false END
                ELSE false END
    FROM pg_collation k, database d
)
SELECT s.name, c.relname, a.attname, y.typname, format_type(a.atttypid, NULL), n.nspname = 'pg_catalog', y.typtype = 'e',
       a.atttypmod, f.provolatile = 'i', pg_get_expr(d.adbin, d.adrelid),
       a.attidentity <> '' OR a.attgenerated <> '' OR (d.oid IS NULL AND y.typdefault IS NOT NULL),
       a.attgenerated <> '', coalesce(k.equal, true), coalesce(k.bytewise, false)
FROM pg_class c JOIN users_space s ON s.id = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_type y ON y.oid = a.atttypid JOIN pg_namespace n ON n.oid = y.typnamespace JOIN pg_proc f ON f.oid = y.typinput
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum LEFT JOIN collating k ON k.id = a.attcollation
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relnamespace, c.oid, a.attnum
-- :names
, temporary (id, name, kind) AS (
    SELECT c.oid, c.relname, c.relkind FROM pg_class c WHERE c.relpersistence = 't' AND c.relkind IN ('r', 'v', 'p', 'f', 'S')
)
SELECT 'others', array_agg(DISTINCT relname::text) FROM pg_class
    WHERE relnamespace IN (SELECT id FROM users_space) AND relkind IN ('i', 'I', 'c')
UNION ALL
SELECT 'system', array_agg(DISTINCT relname::text) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE n.nspname IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT 'temporary', array_agg(DISTINCT name::text) FROM temporary
UNION ALL
SELECT 'busy', array_agg(DISTINCT name::text) FROM temporary t
    WHERE t.kind NOT IN ('r', 'S') OR t.id IN (SELECT id FROM calling)
       OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = t.id AND NOT tgisinternal)
       OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = t.id)
       OR EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = t.id AND ('pg_attrdef'::regclass, d.oid) IN (SELECT * FROM caller))
UNION ALL
SELECT 'functions', array_agg(DISTINCT proname::text) FROM pg_proc
    WHERE oid < 16384 AND pronamespace = 'pg_catalog'::regnamespace
UNION ALL
SELECT 'users_functions', array_agg(DISTINCT proname::text) FROM pg_proc WHERE oid >= 16384
UNION ALL
SELECT 'volatile', array_agg(DISTINCT proname::text) FROM pg_proc WHERE oid IN (SELECT id FROM volatile)
UNION ALL
SELECT 'operators', array_agg(DISTINCT oprname::text) FROM pg_operator
    WHERE oid >= 16384 AND oprleft < 16384 AND oprright < 16384
UNION ALL
SELECT 'volatile_operators', array_agg(DISTINCT oprname::text) FROM pg_operator
    WHERE oid >= 16384 AND oprcode::oid IN (SELECT id FROM volatile)
UNION ALL
SELECT 'types', array_agg(DISTINCT typname::text) FROM pg_type WHERE oid >= 16384
-- :facts
SELECT current_setting('server_encoding'),
       EXISTS (SELECT FROM pg_cast c JOIN pg_type y ON y.oid = c.castsource
               WHERE c.oid >= 16384 AND c.castsource < 16384
                 AND (c.casttarget < 16384 OR (c.castcontext = 'i' AND y.typcategory = 'N'))),
       EXISTS (SELECT FROM pg_cast WHERE castfunc IN (SELECT id FROM volatile))
       OR EXISTS (SELECT FROM pg_constraint WHERE contypid <> 0 AND ('pg_constraint'::regclass, oid) IN (SELECT * FROM caller)),
       EXISTS (SELECT FROM pg_settings WHERE name = 'extra_float_digits' AND reset_val::int < 1)
       OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS s (text)
                  WHERE s.text LIKE 'extra\_float\_digits=%' AND split_part(s.text, '=', 2) !~ '^[1-3]$')
