-- The same, of the rows that this run was to write.
SELECT stored.image_id, count(*) OVER () AS total
FROM birdwalk.pending
JOIN {table} AS stored
    ON stored.bucket = $1 AND stored.image_id = pending.image_id
WHERE pending.run_id = $3
    AND (abs(vector_norm(stored.embedding) - 1) > 0.001 OR vector_dims(stored.embedding) <> $2)
ORDER BY stored.image_id
LIMIT 5
