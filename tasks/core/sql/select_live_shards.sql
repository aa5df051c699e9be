-- The shards of a run that are alive: those whose advisory lock is held.
SELECT shard
FROM generate_series(0, $2::integer - 1) AS shard
JOIN pg_locks AS locks
    ON locks.locktype = 'advisory' AND locks.granted
    AND (locks.classid::bigint << 32 | locks.objid::bigint)
        = hashtextextended('birdwalk run ' || $1::bigint || ' shard ' || shard, 0)
