-- Rows whose vector is not of norm 1 or not of the space's dimension: this run's, or all.
SELECT stored.image_id, vector_norm(stored.embedding) AS norm, count(*) OVER () AS total
FROM {table} AS stored
WHERE stored.bucket = $2
    AND (abs(vector_norm(stored.embedding) - 1) > 0.001 OR vector_dims(stored.embedding) <> $3)
    AND (
        $4
        OR stored.image_id IN (SELECT image_id FROM birdwalk.pending WHERE run_id = $1)
    )
ORDER BY stored.image_id
LIMIT 5
