-- What is told of other commands is not told of these: they are our own, and only who knows the token can say so.
DO $pgkeep$
BEGIN
    IF to_regclass('{schema}.token') IS NOT NULL THEN
        PERFORM set_config('pgkeep.off', (SELECT token FROM {schema}.token), true);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    NULL; -- who may not read it is about to be refused anyway
END
$pgkeep$;
