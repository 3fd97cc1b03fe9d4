"""Every feature of tables that changes how their rows are carried, and work on it."""

FEATURES = """
    CREATE SCHEMA _pgkeep;
    CREATE TABLE _pgkeep.log (id bigserial PRIMARY KEY, prefix text, content text);
    CREATE TABLE _pgkeep.other (id int PRIMARY KEY);
    CREATE SCHEMA "Odd ""schema' \\ %b
";
    CREATE TABLE "Odd ""schema' \\ %b
"."tab\\.le :x %s $$" ("select" int PRIMARY KEY, "a ""b'%d:c" text, "ctid_" int, pgkeep_old int);
    CREATE TABLE bare ();
    ALTER TABLE bare REPLICA IDENTITY FULL;
    CREATE TABLE computed (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);
    CREATE TABLE only_computed (one int GENERATED ALWAYS AS (1) STORED);
    CREATE TABLE dropped (gone int, id int PRIMARY KEY, gone_too text, v text);
    ALTER TABLE dropped DROP COLUMN gone, DROP COLUMN gone_too;
    CREATE TABLE indexed (id serial PRIMARY KEY, a int NOT NULL, b text NOT NULL, v text, UNIQUE (b, a));
    ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_b_a_key;
    CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text,
                         n int GENERATED ALWAYS AS IDENTITY, big text, d int DEFAULT 5);
    CREATE TABLE always_key (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
    CREATE TABLE always_full (n int GENERATED ALWAYS AS IDENTITY, v text);
    ALTER TABLE always_full REPLICA IDENTITY FULL;
    CREATE TABLE parted (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
    CREATE TABLE parted_2 (v text, part int NOT NULL, id int NOT NULL);
    ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
    CREATE TABLE ancestor (id int PRIMARY KEY, v text);
    CREATE TABLE heir (more int, PRIMARY KEY (id)) INHERITS (ancestor);
    CREATE TABLE referred (id int PRIMARY KEY);
    CREATE TABLE referring (id int PRIMARY KEY, to_it int REFERENCES referred ON DELETE CASCADE);
    CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, to_it int REFERENCES referred);
    CREATE TABLE swapped (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE VIEW few AS SELECT generate_series(1, 3) AS i;
    CREATE TABLE toasted (k text PRIMARY KEY, big text, n int);
    ALTER TABLE toasted ALTER k SET STORAGE EXTERNAL, ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE toasted_full (big text, n int);
    ALTER TABLE toasted_full ALTER big SET STORAGE EXTERNAL;
    ALTER TABLE toasted_full REPLICA IDENTITY FULL;
    CREATE TABLE altered (id int PRIMARY KEY, a int, b int);
    CREATE TABLE ruled (id int PRIMARY KEY, v text);
    CREATE RULE never AS ON UPDATE TO ruled WHERE old.id = 0 DO INSTEAD NOTHING;
    CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v || ''!''; RETURN NEW; END';
    CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON ruled FOR EACH ROW EXECUTE FUNCTION meddle();
    INSERT INTO unlogged VALUES (1, NULL);
"""
ODD = """ "Odd ""schema' \\ %b
"."tab\\.le :x %s $$" """
WORK = [
    f"""INSERT INTO {ODD} VALUES (1, 'it''s', 2, 3), (2, NULL, NULL, NULL)""",
    f"""UPDATE {ODD} SET "a ""b'%d:c" = E'%s %b \\\\ :x\\n\\\\.\\n' WHERE "select" = 2""",
    f"""UPDATE {ODD} SET "select" = "select" + 10""",
    "INSERT INTO bare DEFAULT VALUES; INSERT INTO bare SELECT FROM generate_series(1, 20)",
    "DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT 4)",
    "INSERT INTO only_computed DEFAULT VALUES; INSERT INTO only_computed DEFAULT VALUES",
    "INSERT INTO computed SELECT i, i FROM generate_series(1, 30) i; UPDATE computed SET a = -a WHERE id < 5",
    "INSERT INTO computed VALUES (100, 1), (101, NULL); UPDATE computed SET id = id + 1000, a = 9 WHERE id > 99",
    "INSERT INTO dropped VALUES (1, 'a'), (2, NULL); UPDATE dropped SET v = 'b'; DELETE FROM dropped WHERE id = 1",
    "INSERT INTO indexed (a, b) SELECT i, 'b' || i FROM generate_series(1, 9) i",
    "UPDATE indexed SET v = a, id = 50 + id",
    "UPDATE indexed SET b = b || '''' WHERE a < 4; DELETE FROM indexed WHERE a = 1; UPDATE indexed SET id = id + 100",
    "INSERT INTO always (v, big) SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 12) i",
    "ALTER TABLE always ALTER big SET STORAGE EXTERNAL",
    "UPDATE always SET v = 'x' || v, d = NULL WHERE id < 5; UPDATE always SET n = DEFAULT WHERE id = 6",
    "UPDATE always SET id = DEFAULT WHERE id = 7; UPDATE always SET big = big || 'x' WHERE id = 8",
    "INSERT INTO always_key (v) VALUES ('a'), ('b'); UPDATE always_key SET v = 'c'; UPDATE always_key SET id = DEFAULT",
    "INSERT INTO always_full (v) VALUES ('a'), ('a'); UPDATE always_full SET v = 'c' WHERE n = 1",
    "UPDATE always_full SET n = DEFAULT WHERE n = 1",
    "INSERT INTO parted SELECT i, 1 + i % 2, i FROM generate_series(1, 20) i; UPDATE parted SET part = 2 WHERE id < 5",
    "UPDATE parted SET part = 3 - part, v = 'moved' WHERE id > 15; DELETE FROM parted WHERE id = 9",
    "TRUNCATE parted_1",
    "INSERT INTO ancestor VALUES (1, 'a'); INSERT INTO heir VALUES (1, 'b', 2), (3, 'c', 4)",
    "UPDATE ancestor SET v = v || v",
    "DELETE FROM ancestor WHERE id = 1",
    "INSERT INTO referred SELECT generate_series(1, 9); INSERT INTO referring SELECT i, i FROM generate_series(1, 9) i",
    "DELETE FROM referred WHERE id < 3",
    "TRUNCATE referred CASCADE",
    "INSERT INTO referred VALUES (1); INSERT INTO _pgkeep.other VALUES (1)",
    "TRUNCATE referred, referring, _pgkeep.other, indexed, unlogged RESTART IDENTITY",
    "TRUNCATE _pgkeep.other; UPDATE _pgkeep.log SET prefix = 'x'; DELETE FROM _pgkeep.log",
    "INSERT INTO swapped VALUES (1, 1), (2, 2), (3, 3); UPDATE swapped SET u = 4 - u",
    "INSERT INTO toasted SELECT left(repeat(md5(i::text), 90), 2600), repeat(md5(i::text), 200), i FROM few",
    "UPDATE toasted SET n = n + 1; UPDATE toasted SET k = 'x' || substr(k, 2) WHERE n = 2",
    "UPDATE toasted SET big = 'small' WHERE n = 3",
    "UPDATE toasted SET n = n WHERE n = 4; DELETE FROM toasted WHERE n = 4",
    "INSERT INTO toasted_full SELECT repeat(md5(i::text), 200), i FROM generate_series(1, 3) i",
    "UPDATE toasted_full SET n = n + 1",
    "UPDATE toasted_full SET big = big || '''' WHERE n = 2; DELETE FROM toasted_full WHERE n = 3",
    "INSERT INTO ruled VALUES (0, 'a'), (1, 'b'); ALTER TABLE ruled DISABLE RULE never; UPDATE ruled SET v = 'c'",
    "BEGIN; INSERT INTO ruled VALUES (5, '5'); SAVEPOINT a; DELETE FROM ruled; ROLLBACK TO a",
    "INSERT INTO ruled VALUES (6, '6'); SAVEPOINT b; UPDATE ruled SET v = 'in b' WHERE id = 6; RELEASE b; COMMIT",
    "BEGIN; DELETE FROM ruled; ROLLBACK",
    "SELECT pg_replication_origin_create('elsewhere')",
    "SELECT pg_replication_origin_session_setup('elsewhere'); INSERT INTO ruled VALUES (7, 'x')",
]


def literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def ddl(statement: str) -> str:
    """The statement, and the message of it (for 13 in the table that stands in for messages)."""
    return f"{statement}; INSERT INTO _pgkeep.log (prefix, content) VALUES ('pgkeep:ddl', {literal(statement)})"


# Within a transaction, and after it.
ALTERED = [
    "BEGIN; INSERT INTO altered VALUES (1, 1, 1)",
    ddl("ALTER TABLE altered ADD c text"),
    "UPDATE altered SET c = 'new'; INSERT INTO altered VALUES (2, 2, 2, NULL)",
    ddl("ALTER TABLE altered DROP b"),
    ddl('ALTER TABLE altered RENAME a TO "a\'"'),
    ddl("ALTER TABLE altered RENAME TO renamed"),
    "INSERT INTO renamed SELECT i, i, i FROM generate_series(3, 30) i",
    ddl("CREATE TABLE born (LIKE renamed INCLUDING ALL)"),
    "INSERT INTO born SELECT * FROM renamed; DELETE FROM renamed WHERE id % 2 = 0; COMMIT",
    "UPDATE renamed SET c = 'after' WHERE id < 9",
]
