-- One run at a time on an index; freed when the connection ends, however it ends.
SELECT pg_try_advisory_lock(hashtextextended('birdwalk index ' || $1, 0))
