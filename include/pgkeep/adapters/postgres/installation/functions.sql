-- In these functions an error is never the application's: each body catches its own and leaves word of it.
-- `observe` and `before_alter` run with the caller's rights, for they must see the caller's search_path and role: they
-- cannot SET either, so every name and operator in them says its schema. What they find they leave in a setting of the
-- transaction, where the trigger that follows them, which runs with our rights, takes it from; it is written anew for
-- every command, so nobody can put words into it.

-- Writes down what a command did, for `act`.
CREATE OR REPLACE FUNCTION {schema}.observe() RETURNS event_trigger LANGUAGE plpgsql AS $pgkeep$
DECLARE
    said pg_catalog.text;
    stack pg_catalog.text;
    objects pg_catalog.jsonb;
    super pg_catalog.bool;
BEGIN
    said := pg_catalog.current_query();
    GET DIAGNOSTICS stack = PG_CONTEXT;
    -- A script sent as one string comes with each of its commands: a long one would be written many times over.
    IF pg_catalog.octet_length(said) OPERATOR(pg_catalog.>) 100000 THEN
        PERFORM pg_catalog.set_config('pgkeep.event', 'a command in a text of more than 100000 bytes', true);
        RETURN;
    END IF;
    IF tg_event OPERATOR(pg_catalog.=) 'ddl_command_end' THEN
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'class', d.classid::pg_catalog.int8, 'id', d.objid::pg_catalog.int8,
                   'object_type', d.object_type, 'object_identity', d.object_identity))
            INTO objects FROM pg_catalog.pg_event_trigger_ddl_commands() AS d;
    ELSIF tg_event OPERATOR(pg_catalog.=) 'sql_drop' THEN
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'class', d.classid::pg_catalog.int8, 'id', d.objid::pg_catalog.int8,
                   -- The table that it was a part of, if that is still there.
                   'table', (
                       SELECT c.oid::pg_catalog.int8 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n
                           ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                       WHERE d.object_type OPERATOR(pg_catalog.=) ANY (
                               ARRAY['table constraint', 'default value', 'trigger', 'policy', 'rule'])
                           AND n.nspname OPERATOR(pg_catalog.=) d.address_names[1]
                           AND c.relname OPERATOR(pg_catalog.=) d.address_names[2]),
                   'object_type', d.object_type, 'object_identity', d.object_identity,
                   'original', d.original, 'is_temporary', d.is_temporary))
            INTO objects FROM pg_catalog.pg_event_trigger_dropped_objects() AS d;
    ELSE
        SELECT pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
                   'oid', r.oid, 'reason', pg_catalog.pg_event_trigger_table_rewrite_reason(),
                   'object_identity', (pg_catalog.pg_identify_object(1259, r.oid, 0)).identity))
            INTO objects FROM pg_catalog.pg_event_trigger_table_rewrite_oid() AS r (oid);
    END IF;
    SELECT r.rolsuper INTO super FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user;
    PERFORM pg_catalog.set_config('pgkeep.event', pg_catalog.json_build_object(
        'ev', tg_event, 'tag', tg_tag, 'q', said, 'sp', pg_catalog.current_setting('search_path'),
        'cu', current_user, 'tz', pg_catalog.current_setting('TimeZone'),
        'tx', pg_catalog.txid_current(), 'o', objects,
        -- Which changes of others it knows: those that had ended when it began, and that it sees.
        'began', pg_catalog.statement_timestamp(), 'seen', pg_catalog.txid_current_snapshot()::pg_catalog.text,
        -- Whether the command ran inside a function: then `q` is not its own text.
        'nested', pg_catalog.strpos(stack, E'\n') OPERATOR(pg_catalog.>) 0,
        -- What the role may do here: the replay lends it just that.
        'sup', super,
        'mem', CASE WHEN super THEN NULL ELSE (
            SELECT pg_catalog.json_object_agg(r.rolname, pg_catalog.pg_has_role(current_user, r.oid, 'USAGE'))
            FROM pg_catalog.pg_roles AS r
            WHERE r.rolname OPERATOR(pg_catalog.<>) current_user
                AND pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')) END,
        'dbc', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
        'tmp', CASE WHEN pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0 THEN (
            SELECT pg_catalog.json_agg(c.relname) FROM pg_catalog.pg_class AS c
            WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) END,
        -- Whether a domain's default, or a cast or operator of users, could give another value when it runs again.
        'dd', EXISTS (SELECT FROM pg_catalog.pg_type AS t
            WHERE t.oid OPERATOR(pg_catalog.>=) 16384 AND t.typtype OPERATOR(pg_catalog.=) 'd'
                AND t.typdefault IS NOT NULL),
        'vo', EXISTS (SELECT FROM pg_catalog.pg_cast AS c JOIN pg_catalog.pg_proc AS p
                ON p.oid OPERATOR(pg_catalog.=) c.castfunc
                WHERE c.oid OPERATOR(pg_catalog.>=) 16384 AND p.provolatile OPERATOR(pg_catalog.=) 'v')
            OR EXISTS (SELECT FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_proc AS p
                ON p.oid OPERATOR(pg_catalog.=) o.oprcode
                WHERE o.oid OPERATOR(pg_catalog.>=) 16384 AND p.provolatile OPERATOR(pg_catalog.=) 'v'),
        -- What gives the text its meaning.
        'set', pg_catalog.json_build_object(
            'DateStyle', pg_catalog.current_setting('DateStyle'),
            'IntervalStyle', pg_catalog.current_setting('IntervalStyle'),
            'extra_float_digits', pg_catalog.current_setting('extra_float_digits'),
            'bytea_output', pg_catalog.current_setting('bytea_output'),
            'xmloption', pg_catalog.current_setting('xmloption'),
            'timezone_abbreviations', pg_catalog.current_setting('timezone_abbreviations'),
            'array_nulls', pg_catalog.current_setting('array_nulls'),
            'transform_null_equals', pg_catalog.current_setting('transform_null_equals'),
            'default_table_access_method', pg_catalog.current_setting('default_table_access_method'),
            'standard_conforming_strings', pg_catalog.current_setting('standard_conforming_strings'))
        )::pg_catalog.text, true);
EXCEPTION WHEN OTHERS THEN
    PERFORM pg_catalog.set_config('pgkeep.event', pg_catalog.concat('observing: ', SQLSTATE, ' ', SQLERRM), true);
END
$pgkeep$;

-- Puts a message where the reader of the slot finds it, in its place among the rows.
CREATE OR REPLACE FUNCTION {schema}.send(prefix text, content text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    {send}
END
$pgkeep$;

-- Whether a table may be published without an UPDATE or DELETE ever failing for it.
CREATE OR REPLACE FUNCTION {schema}.fits(given oid) RETURNS boolean LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    RETURN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.oid = given AND {fitting});
END
$pgkeep$;

-- Whether its owner lets us publish it.
CREATE OR REPLACE FUNCTION {schema}.may_list(given oid) RETURNS boolean LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    RETURN EXISTS (SELECT FROM pg_class c WHERE c.oid = given AND pg_has_role(c.relowner, 'USAGE'));
END
$pgkeep$;

CREATE OR REPLACE FUNCTION {schema}.is_listed(given oid) RETURNS boolean LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    RETURN EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                   WHERE p.pubname = 'pgkeep' AND r.prrelid = given);
END
$pgkeep$;

-- Of these tables, and those that inherit from them, the ones that must not be published any longer. In a transaction
-- that keeps its first snapshot the catalogs that we read may be older than what is true: then it is all of them.
CREATE OR REPLACE FUNCTION {schema}.suspects(given oid[]) RETURNS SETOF oid LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    RETURN QUERY
    WITH RECURSIVE tree (relation) AS (
        SELECT unnest(given) UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.relation)
    SELECT tree.relation FROM tree
    WHERE tree.relation IS NOT NULL
      AND (current_setting('transaction_isolation') IN ('repeatable read', 'serializable')
           OR {schema}.is_listed(tree.relation) AND NOT {schema}.fits(tree.relation));
END
$pgkeep$;

-- ADD TABLE or DROP TABLE. Neither shall `act` tell of it nor, where we may tell them so, the application's own
-- event triggers. Where it fails, what is set here is undone with the block that catches the error.
CREATE OR REPLACE FUNCTION {schema}.change(what text, relation oid) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
DECLARE
    off text := current_setting('pgkeep.off', true);
    before text := current_setting('session_replication_role');
    -- Not needlessly: it makes the session forget its plans.
    quietly boolean := EXISTS (SELECT FROM pg_event_trigger WHERE evtname NOT LIKE 'pgkeep\_%' AND evtenabled = 'O')
                       AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    PERFORM set_config('pgkeep.off', (SELECT token FROM {schema}.token), true);
    IF quietly THEN
        PERFORM set_config('session_replication_role', 'replica', true);
    END IF;
    EXECUTE format('ALTER PUBLICATION pgkeep %s TABLE ONLY %s', what, relation::regclass);
    IF quietly THEN
        PERFORM set_config('session_replication_role', before, true);
    END IF;
    PERFORM set_config('pgkeep.off', coalesce(off, ''), true);
END
$pgkeep$;

-- Takes a table off the list. Since PostgreSQL 15 a transaction that changes a publication keeps it locked until its
-- end; then nobody else may wait for it, and the entry is removed as DROP TABLE removes it, which needs no such lock.
CREATE OR REPLACE FUNCTION {schema}.unlist(relation oid) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    PERFORM {schema}.change('DROP', relation);
EXCEPTION
    WHEN undefined_object THEN
        NULL; -- it was not on the list
    WHEN OTHERS THEN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            PERFORM {schema}.strike(relation);
        ELSE
            PERFORM set_config('lock_timeout', '0', true); -- waiting is bad; an UPDATE that fails is worse
            PERFORM {schema}.change('DROP', relation);
        END IF;
END
$pgkeep$;

CREATE OR REPLACE FUNCTION {schema}.strike(relation oid) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
    DELETE FROM pg_depend d USING pg_publication_rel r, pg_publication p
        WHERE p.pubname = 'pgkeep' AND r.prpubid = p.oid AND r.prrelid = relation
          AND d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid;
    DELETE FROM pg_publication_rel r USING pg_publication p
        WHERE p.pubname = 'pgkeep' AND r.prpubid = p.oid AND r.prrelid = relation;
END
$pgkeep$;

-- Sends what `observe` left, and keeps the list true: a table on it always has an identity.
CREATE OR REPLACE FUNCTION {schema}.act() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' AS $pgkeep$
DECLARE
    message text := current_setting('pgkeep.event', true);
    doubt text;
    relation oid;
BEGIN
    IF message <> '' THEN
        BEGIN
            PERFORM set_config('pgkeep.event', '', true);
            IF current_setting('pgkeep.off', true) <> ''
                AND EXISTS (SELECT FROM {schema}.token t WHERE t.token = current_setting('pgkeep.off', true)) THEN
                message := ''; -- our own doing, which nobody else can pretend
            ELSIF message LIKE '{%' THEN
                -- Anybody may send a message of any prefix, but nobody else knows the token.
                message := concat('{"t":', (SELECT to_json(token) FROM {schema}.token), ',', substr(message, 2));
            ELSE
                doubt := message;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            doubt := concat('sending: ', SQLSTATE, ' ', SQLERRM);
        END;
        -- Outside of that block, in which each message would use up the number of a subtransaction.
        IF doubt IS NULL AND message <> '' THEN
            {emit}
        END IF;
    END IF;
    BEGIN
        IF tg_event = 'sql_drop' THEN
            PERFORM {schema}.unlist(s.relation) FROM {schema}.suspects(ARRAY(
                SELECT to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid
                FROM pg_event_trigger_dropped_objects() d WHERE d.object_type = 'table constraint')) s (relation);
        ELSIF tg_event = 'ddl_command_end' AND tg_tag = 'ALTER TABLE' THEN
            PERFORM {schema}.unlist(s.relation) FROM {schema}.suspects(ARRAY(
                SELECT d.objid FROM pg_event_trigger_ddl_commands() d
                WHERE d.classid = 'pg_class'::regclass)) s (relation);
        ELSIF tg_event = 'ddl_command_end' AND tg_tag <> 'ALTER PUBLICATION' THEN
            -- Only what this command has made, and only if it is empty. All else is listed at the next cut.
            FOR relation IN
                SELECT d.objid FROM pg_event_trigger_ddl_commands() d
                WHERE d.classid = 'pg_class'::regclass AND d.command_tag = 'CREATE TABLE'
                  AND {schema}.fits(d.objid) AND {schema}.may_list(d.objid) AND NOT {schema}.is_listed(d.objid)
                  AND pg_relation_size(d.objid) = 0
            LOOP
                PERFORM {schema}.change('ADD', relation);
            END LOOP;
        END IF;
    EXCEPTION
        WHEN lock_not_available THEN
            NULL; -- of ADD TABLE: the table is not lost, it is carried as those off the list are
        WHEN OTHERS THEN
            doubt := concat('listing: ', SQLSTATE, ' ', SQLERRM);
    END;
    IF doubt IS NOT NULL THEN
        BEGIN
            PERFORM {schema}.send('pgkeep:doubt', json_build_object('reason', doubt)::text);
        EXCEPTION WHEN OTHERS THEN
            RAISE LOG 'pgkeep: % (% %)', doubt, SQLSTATE, SQLERRM;
        END;
    END IF;
END
$pgkeep$;

-- ALTER TABLE .. SET UNLOGGED refuses a table that is on a list, before any trigger knows which table it is. So its
-- name is looked for in what was said: in the statement, or in the function that says it.
CREATE OR REPLACE FUNCTION {schema}.before_alter() RETURNS event_trigger LANGUAGE plpgsql AS $pgkeep$
DECLARE
    said pg_catalog.text;
    bare pg_catalog.text;
    stripped pg_catalog.text;
    named pg_catalog.text;
    relation pg_catalog.regclass;
    found_ones pg_catalog.text := '';
BEGIN
    PERFORM pg_catalog.set_config('pgkeep.leaving', '', true);
    GET DIAGNOSTICS said = PG_CONTEXT;
    IF pg_catalog.strpos(said, E'\n') OPERATOR(pg_catalog.>) 0 THEN
        -- A function of language SQL is in the context by its name only.
        said := pg_catalog.concat(said, E'\n', (
            SELECT pg_catalog.string_agg(f.prosrc, E'\n') FROM pg_catalog.pg_proc f
            WHERE f.prolang OPERATOR(pg_catalog.=) 14 AND f.prosrc OPERATOR(pg_catalog.~*) 'unlogged'
              AND pg_catalog.strpos(said, f.proname::pg_catalog.text) OPERATOR(pg_catalog.>) 0));
    END IF;
    said := pg_catalog.concat(pg_catalog.current_query(), E'\n', said);
    IF said OPERATOR(pg_catalog.!~*) 'unlogged' THEN
        RETURN;
    END IF;
    -- Comments nest: the innermost go first.
    bare := said;
    LOOP
        stripped := pg_catalog.regexp_replace(bare, '/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/', ' ', 'g');
        EXIT WHEN stripped OPERATOR(pg_catalog.=) bare;
        bare := stripped;
    END LOOP;
    said := pg_catalog.concat(said, E'\n', pg_catalog.regexp_replace(bare, '--[^\n]*', ' ', 'g'));
    FOR named IN
        SELECT DISTINCT m.parts[1] FROM pg_catalog.regexp_matches(said,
            'alter\s+table\s+(?:if\s+exists\s+)?(?:only\s*)?\(?\s*('
            '(?:U&)?(?:"(?:[^"]|"")+"|[^\s".,;()*]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\s".,;()*]+))*)', 'gi') AS m (parts)
    LOOP
        BEGIN
            IF named OPERATOR(pg_catalog.~*) '^U&"' THEN
                named := pg_catalog.replace(pg_catalog.replace(
                    pg_catalog.substr(named, 4, pg_catalog.length(named) OPERATOR(pg_catalog.-) 4), '""', '"'), '''', '''''');
                EXECUTE pg_catalog.concat('SELECT pg_catalog.quote_ident(U&''', named, ''')') INTO named;
            END IF;
            relation := pg_catalog.to_regclass(named);
            -- Not somebody else's table: on that one the statement fails by itself.
            IF (SELECT c.relkind OPERATOR(pg_catalog.=) 'r' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
                FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) relation) THEN
                found_ones := pg_catalog.concat(found_ones, ' ', relation::pg_catalog.oid);
                -- The lock that the statement takes: taken now, if it is free, nobody gets between us and it.
                EXECUTE pg_catalog.concat('LOCK TABLE ONLY ', relation, ' IN ACCESS EXCLUSIVE MODE NOWAIT');
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL; -- no name, or a table in use, which the statement will wait for
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('pgkeep.leaving', found_ones, true);
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'pgkeep: % %', SQLSTATE, SQLERRM;
END
$pgkeep$;

CREATE OR REPLACE FUNCTION {schema}.before_unlogged() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' AS $pgkeep$
DECLARE
    leaving text := current_setting('pgkeep.leaving', true);
    leaver oid;
BEGIN
    IF leaving <> '' THEN
        PERFORM set_config('pgkeep.leaving', '', true);
        FOREACH leaver IN ARRAY string_to_array(ltrim(leaving), ' ')::oid[] LOOP
            IF EXISTS (SELECT FROM pg_locks l
                       WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = leaver AND l.mode = 'AccessExclusiveLock' AND l.granted)
                OR NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                PERFORM {schema}.unlist(leaver);
            ELSE
                -- A weaker lock now, and the statement's later, could end in a deadlock.
                PERFORM {schema}.strike(leaver);
            END IF;
        END LOOP;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'pgkeep: % %', SQLSTATE, SQLERRM;
END
$pgkeep$;

-- Puts a table on the list, or takes it off, as is right for it; whether that could be done now (null: never, for a
-- reason that is said). `pgkeep:listed` says that its rows until now are not in the slot. While it is put on the list
-- nobody may be writing to it: what a transaction wrote before and commits after the next cut would be neither in the
-- slot nor under that cut's snapshot.
CREATE OR REPLACE FUNCTION {schema}.settle(relation oid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' AS $pgkeep$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = session_user AND (r.rolsuper OR r.rolreplication
                   OR pg_has_role(r.oid, current_user, 'USAGE'))) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only a role with REPLICATION may say what is published';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation) THEN
        RETURN true;
    END IF;
    BEGIN
        IF {schema}.is_listed(relation) THEN
            IF NOT {schema}.fits(relation) THEN
                PERFORM {schema}.change('DROP', relation);
            END IF;
            RETURN true;
        END IF;
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE NOWAIT', relation::regclass);
        IF {schema}.fits(relation) AND {schema}.may_list(relation) THEN
            PERFORM {schema}.change('ADD', relation);
            PERFORM {schema}.send('pgkeep:listed', (
                SELECT json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname)::text
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation));
        END IF;
        RETURN true;
    EXCEPTION
        -- Another session has it, has dropped it, or has just done the same.
        WHEN lock_not_available OR undefined_table OR undefined_object OR duplicate_object OR internal_error THEN
            RETURN false;
        WHEN OTHERS THEN
            RAISE WARNING 'pgkeep cannot list %: % %', relation::regclass, SQLSTATE, SQLERRM;
            RETURN NULL;
    END;
END
$pgkeep$;
GRANT EXECUTE ON FUNCTION {schema}.settle(oid) TO PUBLIC;
