-- Who holds a lock: the session that has it.
SELECT activity.pid, activity.application_name, activity.backend_start
FROM pg_locks AS locks
JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE locks.locktype = 'advisory' AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (locks.classid::bigint << 32 | locks.objid::bigint) = hashtextextended($1, 0)
