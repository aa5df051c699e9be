-- Hold a lock as long as the session lasts, where nobody else does.
SELECT pg_try_advisory_lock(hashtextextended($1, 0))
