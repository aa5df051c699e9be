-- Keep a shard from being seen alive until the transaction's end, where it is not alive now.
SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))
