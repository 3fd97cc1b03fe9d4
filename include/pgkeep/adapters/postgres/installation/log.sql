-- Messages, for a server whose pgoutput has none. Each row is deleted by the transaction that has inserted it.
CREATE TABLE IF NOT EXISTS {schema}.log (id bigserial PRIMARY KEY, prefix text NOT NULL, content text NOT NULL);
GRANT SELECT ON {schema}.log, {schema}.log_id_seq TO PUBLIC;
DO $pgkeep$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                   WHERE p.pubname = 'pgkeep' AND r.prrelid = '{schema}.log'::regclass) THEN
        ALTER PUBLICATION pgkeep ADD TABLE ONLY {schema}.log;
    END IF;
END
$pgkeep$;
