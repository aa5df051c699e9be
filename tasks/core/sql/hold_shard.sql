-- Shown by a shard of a run while it lives.
SELECT pg_try_advisory_lock(hashtextextended('birdwalk run ' || $1::bigint || ' shard ' || $2::integer, 0))
