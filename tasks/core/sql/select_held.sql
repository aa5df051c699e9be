-- Those of some locks that are held, by their places among them, from 0.
SELECT place - 1 AS place
FROM unnest($1::text[]) WITH ORDINALITY AS asked (key, place)
JOIN pg_locks AS locks
    ON locks.locktype = 'advisory' AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (locks.classid::bigint << 32 | locks.objid::bigint) = hashtextextended(key, 0)
