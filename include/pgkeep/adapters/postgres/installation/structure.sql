-- Nobody's DROP OWNED, REASSIGN OWNED or DROP ROLE shall stumble over what is installed here: where a superuser
-- installs it, it belongs to the superuser whom the database system itself needs.
DO $pgkeep$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('SET LOCAL ROLE %I', (SELECT rolname FROM pg_roles WHERE oid = 10));
    END IF;
END
$pgkeep$;

-- What carries the name but not the mark is somebody else's.
DO $pgkeep$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = '{schema}'
               AND coalesce(obj_description(n.oid, 'pg_namespace'), '') NOT LIKE 'pgkeep %')
       OR EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'pgkeep'
                  AND coalesce(obj_description(p.oid, 'pg_publication'), '') NOT LIKE 'pgkeep %') THEN
        RAISE duplicate_object USING MESSAGE = 'a schema {schema} or a publication pgkeep is there that pgkeep has not made';
    END IF;
    -- Functions of somebody with fewer rights are not for us to call, let alone to be called by every command.
    IF EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
               WHERE n.nspname = '{schema}' AND NOT r.rolsuper AND r.rolname <> current_user) THEN
        RAISE insufficient_privilege USING MESSAGE = 'schema {schema} is of a role with fewer rights: remove it first';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{schema}') THEN
        CREATE SCHEMA {schema};
    END IF;
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'pgkeep') THEN
        -- It starts empty, and only tables with an identity come on its list: no UPDATE or DELETE fails for it.
        CREATE PUBLICATION pgkeep;
    END IF;
END
$pgkeep$;
COMMENT ON SCHEMA {schema} IS {mark};
COMMENT ON PUBLICATION pgkeep IS {mark};
ALTER PUBLICATION pgkeep SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);
-- Whoever dumps this database with pg_dump must be able to read what is in here.
GRANT USAGE ON SCHEMA {schema} TO PUBLIC;

-- Which tables have got REPLICA IDENTITY FULL from pgkeep, and what they had before.
CREATE TABLE IF NOT EXISTS {schema}.widened (relation regclass PRIMARY KEY, before "char" NOT NULL);
GRANT SELECT ON {schema}.widened TO PUBLIC;
-- What proves a message genuine. A materialized view, since pg_dump carries those without reading them.
CREATE MATERIALIZED VIEW IF NOT EXISTS {schema}.token AS SELECT gen_random_uuid()::text AS token;
DO $pgkeep$
DECLARE
    other text;
BEGIN
    -- Default privileges may have given it to somebody.
    FOR other IN SELECT coalesce(quote_ident(r.rolname), 'PUBLIC')
                 FROM pg_class c CROSS JOIN aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
                 WHERE c.oid = '{schema}.token'::regclass AND a.grantee <> c.relowner LOOP
        EXECUTE format('REVOKE ALL ON {schema}.token FROM %s', other);
    END LOOP;
END
$pgkeep$;
