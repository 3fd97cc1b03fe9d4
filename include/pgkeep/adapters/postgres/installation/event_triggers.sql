-- Triggers of one event fire in the order of their names: what runs with the caller's rights, then what runs with ours.
-- ALWAYS: a session that replicates into this database changes tables, too.
DROP EVENT TRIGGER IF EXISTS pgkeep_end_1;
DROP EVENT TRIGGER IF EXISTS pgkeep_end_2;
DROP EVENT TRIGGER IF EXISTS pgkeep_drop_1;
DROP EVENT TRIGGER IF EXISTS pgkeep_drop_2;
DROP EVENT TRIGGER IF EXISTS pgkeep_rewrite_1;
DROP EVENT TRIGGER IF EXISTS pgkeep_rewrite_2;
DROP EVENT TRIGGER IF EXISTS pgkeep_start_1;
DROP EVENT TRIGGER IF EXISTS pgkeep_start_2;
CREATE EVENT TRIGGER pgkeep_end_1 ON ddl_command_end EXECUTE FUNCTION {schema}.observe();
CREATE EVENT TRIGGER pgkeep_end_2 ON ddl_command_end EXECUTE FUNCTION {schema}.act();
CREATE EVENT TRIGGER pgkeep_drop_1 ON sql_drop EXECUTE FUNCTION {schema}.observe();
CREATE EVENT TRIGGER pgkeep_drop_2 ON sql_drop EXECUTE FUNCTION {schema}.act();
CREATE EVENT TRIGGER pgkeep_rewrite_1 ON table_rewrite EXECUTE FUNCTION {schema}.observe();
CREATE EVENT TRIGGER pgkeep_rewrite_2 ON table_rewrite EXECUTE FUNCTION {schema}.act();
CREATE EVENT TRIGGER pgkeep_start_1 ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION {schema}.before_alter();
CREATE EVENT TRIGGER pgkeep_start_2 ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION {schema}.before_unlogged();
ALTER EVENT TRIGGER pgkeep_end_1 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_end_2 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_drop_1 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_drop_2 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_rewrite_1 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_rewrite_2 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_start_1 ENABLE ALWAYS;
ALTER EVENT TRIGGER pgkeep_start_2 ENABLE ALWAYS;
