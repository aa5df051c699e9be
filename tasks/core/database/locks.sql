-- name: set_keepalives
-- Let Postgres notice within half a minute that a session's machine is lost; the system's own time is
-- two hours. It has no effect on a Unix socket.
SELECT set_config('tcp_keepalives_idle', '15', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false),
    -- Where something was sent that nobody has acknowledged, no probes are.
    set_config('tcp_user_timeout', '30000', false)

-- name: take_lock
-- Hold a lock as long as the session lasts, where nobody else does.
SELECT pg_try_advisory_lock(hashtextextended($1, 0))

-- name: select_holder
-- Who holds a lock: the session that has it.
SELECT activity.pid, activity.application_name, activity.backend_start
FROM pg_locks AS locks
JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE locks.locktype = 'advisory' AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (locks.classid::bigint << 32 | locks.objid::bigint) = hashtextextended($1, 0)

-- name: lock_dead_shard
-- Keep a shard from being seen alive until the transaction's end, where it is not alive now.
SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))

-- name: select_held
-- Those of some locks that are held, by their places among them, from 0.
SELECT place - 1 AS place
FROM unnest($1::text[]) WITH ORDINALITY AS asked (key, place)
JOIN pg_locks AS locks
    ON locks.locktype = 'advisory' AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (locks.classid::bigint << 32 | locks.objid::bigint) = hashtextextended(key, 0)
