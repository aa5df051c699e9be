-- This run's rows whose vector is not of norm 1 or not of the space's dimension.
SELECT stored.image_id, vector_norm(stored.embedding) AS norm, count(*) OVER () AS total
FROM {table} AS stored
JOIN birdwalk.pending
    ON pending.run_id = $1 AND pending.image_id = stored.image_id AND stored.bucket = $2
WHERE abs(vector_norm(stored.embedding) - 1) > 0.001 OR vector_dims(stored.embedding) <> $3
ORDER BY stored.image_id
LIMIT 5
