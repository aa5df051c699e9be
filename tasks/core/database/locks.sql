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

-- name: terminate_session
-- End a session of our own that answers no more.
SELECT pg_terminate_backend($1)
