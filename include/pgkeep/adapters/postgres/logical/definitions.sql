-- What defines each object that users have made: rows of the catalogs without what changes by itself, or along with
-- another object. A part that is not the object's own is said with the object to which it belongs, so that a column, a
-- constraint, a trigger, a policy or a rule is its table's. `acl` and `with` stand apart: see definitions.py.
WITH left_out (space) AS (
    SELECT oid FROM pg_namespace WHERE nspname = '_pgkeep' OR nspname ~ '^pg_(temp|toast)'
), member (class, id) AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), sequence_of (id, relation, number) AS (
    SELECT objid, refobjid, refobjsubid FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND objsubid = 0
      AND objid IN (SELECT seqrelid FROM pg_sequence)
), relation AS (
    SELECT c.*, o.relation AS owning, o.number FROM pg_class c LEFT JOIN sequence_of o ON o.id = c.oid
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
      AND c.relnamespace NOT IN (SELECT space FROM left_out)
      AND NOT EXISTS (SELECT FROM member m WHERE m.class = 'pg_class'::regclass AND m.id = c.oid)
), belonging (class, id, to_class, to_id) AS (
    {belonging}
), said (class, id, part, content) AS (
    SELECT 'pg_class'::regclass, oid, '', jsonb_build_array(relname, relkind, relreplident, relrowsecurity,
           relforcerowsecurity, reloptions, reloftype, relam, owning, number,
           CASE WHEN owning IS NULL THEN jsonb_build_array(relnamespace, relowner, relpersistence) END)
    FROM relation
    UNION ALL
    SELECT coalesce(b.to_class, 'pg_class'::regclass), coalesce(b.to_id, a.attrelid), '', to_jsonb(a)
           - '{attrelid,attinhcount,attislocal,attacl,attcacheoff,attmissingval,atthasmissing}'::text[]
    FROM pg_attribute a LEFT JOIN belonging b ON b.to_class = 'pg_type'::regclass -- a composite one
        AND b.class = 'pg_class'::regclass AND b.id = a.attrelid
    WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'pg_class'::regclass, adrelid, '', jsonb_build_array(adnum, adbin) FROM pg_attrdef
    UNION ALL
    SELECT b.to_class, b.to_id, '', to_jsonb(k)
           - '{oid,conindid,conislocal,coninhcount,conparentid,connamespace,conpfeqop,conppeqop,conffeqop,conexclop}'::text[]
    FROM pg_constraint k JOIN belonging b ON b.class = 'pg_constraint'::regclass AND b.id = k.oid WHERE conparentid = 0
    UNION ALL
    SELECT 'pg_class'::regclass, tgrelid, '', to_jsonb(t)
           - '{oid,tgrelid,tgparentid,tgconstrrelid,tgconstrindid,tgconstraint}'::text[]
    FROM pg_trigger t WHERE NOT tgisinternal AND tgparentid = 0
    UNION ALL
    SELECT 'pg_class'::regclass, ev_class, '', to_jsonb(r) - '{oid,ev_class}'::text[] FROM pg_rewrite r WHERE ev_class >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, polrelid, '', to_jsonb(p) - '{oid,polrelid}'::text[] FROM pg_policy p
    UNION ALL
    SELECT 'pg_class'::regclass, i.indrelid, 'with', jsonb_build_array(c.relname, c.reloptions,
           to_jsonb(i) - '{indexrelid,indrelid,indcheckxmin}'::text[])
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid >= 16384 AND i.indisvalid
    UNION ALL
    SELECT 'pg_class'::regclass, stxrelid, 'with', to_jsonb(s) - '{oid,stxrelid}'::text[] FROM pg_statistic_ext s
    UNION ALL
    SELECT 'pg_class'::regclass, seqrelid, '', to_jsonb(s) - 'seqrelid' FROM pg_sequence s
    UNION ALL
    SELECT 'pg_class'::regclass, inhrelid, '', jsonb_build_array(inhparent, pg_get_expr(c.relpartbound, c.oid))
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    UNION ALL
    SELECT 'pg_class'::regclass, partrelid, '', to_jsonb(p) - '{partrelid,partdefid}'::text[] FROM pg_partitioned_table p
    UNION ALL
    SELECT 'pg_class'::regclass, ftrelid, '', to_jsonb(f) - 'ftrelid' FROM pg_foreign_table f
    UNION ALL
    SELECT coalesce(b.to_class, d.classoid), coalesce(b.to_id, d.objoid),
           CASE WHEN b.class IN ('pg_class'::regclass, 'pg_statistic_ext'::regclass) AND b.to_class = 'pg_class'::regclass
                THEN 'with' ELSE '' END,
           jsonb_build_array(d.objsubid, d.description)
    FROM pg_description d LEFT JOIN belonging b ON b.class = d.classoid AND b.id = d.objoid
    WHERE d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass
    UNION ALL
    SELECT coalesce(b.to_class, d.classoid), coalesce(b.to_id, d.objoid), '',
           jsonb_build_array(d.objsubid, d.provider, d.label)
    FROM pg_seclabel d LEFT JOIN belonging b ON b.class = d.classoid AND b.id = d.objoid
    UNION ALL
    SELECT 'pg_type'::regclass, oid, '', to_jsonb(t) - '{oid,typacl,typarray,typrelid,typsubscript}'::text[]
    FROM pg_type t WHERE oid >= 16384 AND typtype <> 'm' AND typnamespace NOT IN (SELECT space FROM left_out)
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
      AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
    UNION ALL
    SELECT 'pg_type'::regclass, enumtypid, '', jsonb_build_array(enumlabel, enumsortorder) FROM pg_enum
    UNION ALL
    SELECT 'pg_type'::regclass, rngtypid, '', to_jsonb(r) - '{rngtypid,rngmultitypid}'::text[] FROM pg_range r
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, '', to_jsonb(p) - '{oid,proacl}'::text[] FROM pg_proc p
    WHERE oid >= 16384 AND pronamespace NOT IN (SELECT space FROM left_out)
    UNION ALL
    SELECT 'pg_proc'::regclass, aggfnoid, '', to_jsonb(a) - 'aggfnoid' FROM pg_aggregate a WHERE aggfnoid >= 16384
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, '', to_jsonb(n) - '{oid,nspacl}'::text[] FROM pg_namespace n
    WHERE oid NOT IN (SELECT space FROM left_out)
    UNION ALL
    SELECT 'pg_publication'::regclass, oid, '', to_jsonb(p) - 'oid' FROM pg_publication p WHERE pubname <> 'pgkeep'
    UNION ALL
    SELECT 'pg_publication'::regclass, prpubid, '', to_jsonb(r) - '{oid,prpubid}'::text[] FROM pg_publication_rel r
    WHERE prpubid NOT IN (SELECT oid FROM pg_publication WHERE pubname = 'pgkeep')
    UNION ALL
    SELECT 'pg_event_trigger'::regclass, oid, '', to_jsonb(e) - 'oid' FROM pg_event_trigger e WHERE evtname !~ '^pgkeep_'
    UNION ALL
    SELECT 'pg_opfamily'::regclass, amopfamily, '', to_jsonb(o) - '{oid,amopfamily}'::text[] FROM pg_amop o WHERE amopfamily >= 16384
    UNION ALL
    SELECT 'pg_opfamily'::regclass, amprocfamily, '', to_jsonb(o) - '{oid,amprocfamily}'::text[] FROM pg_amproc o WHERE amprocfamily >= 16384
    UNION ALL
    SELECT 'pg_ts_config'::regclass, mapcfg, '', to_jsonb(m) - 'mapcfg' FROM pg_ts_config_map m WHERE mapcfg >= 16384
    {others}
    UNION ALL
    -- Rights on the system's own objects all stand together.
    SELECT class, CASE WHEN id >= 16384 OR class = 'pg_namespace'::regclass THEN id ELSE 0 END, 'acl', jsonb_build_array(id, number, acl) FROM (
        SELECT 'pg_class'::regclass, oid, 0, relacl FROM pg_class UNION ALL
        SELECT 'pg_class'::regclass, attrelid, attnum, attacl FROM pg_attribute UNION ALL
        SELECT 'pg_proc'::regclass, oid, 0, proacl FROM pg_proc
            WHERE pronamespace NOT IN (SELECT space FROM left_out) UNION ALL
        SELECT 'pg_type'::regclass, oid, 0, typacl FROM pg_type UNION ALL
        SELECT 'pg_namespace'::regclass, oid, 0, nspacl FROM pg_namespace
            WHERE oid NOT IN (SELECT space FROM left_out) UNION ALL
        SELECT 'pg_language'::regclass, oid, 0, lanacl FROM pg_language UNION ALL
        SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwacl FROM pg_foreign_data_wrapper UNION ALL
        SELECT 'pg_foreign_server'::regclass, oid, 0, srvacl FROM pg_foreign_server UNION ALL
        SELECT 'pg_default_acl'::regclass, oid, 0, defaclacl FROM pg_default_acl) AS rights (class, id, number, acl)
    WHERE acl IS NOT NULL
)
SELECT concat_ws('/', class::oid, id, coalesce(nullif(part, ''), r.partition)),
       right(to_hex(hashtextextended(string_agg(content::text, ' ' ORDER BY content::text COLLATE "C"), 0)), 8)
FROM said LEFT JOIN (SELECT 'pg_class'::regclass, oid, 'partition' FROM relation WHERE relispartition)
    AS r (class, id, partition) USING (class, id)
WHERE (id >= 16384 OR id = 0 OR class = 'pg_namespace'::regclass AND id IN (SELECT oid FROM pg_namespace WHERE nspname = 'public'))
  AND (class <> 'pg_class'::regclass OR id = 0 OR id IN (SELECT oid FROM relation))
  AND NOT EXISTS (SELECT FROM member m WHERE m.class = said.class AND m.id = said.id)
GROUP BY class, id, part, partition
