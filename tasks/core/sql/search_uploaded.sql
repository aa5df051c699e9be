-- The same, of the images that the last listing dates at or after a time.
WITH candidates AS MATERIALIZED (
    SELECT stored.bucket, stored.image_id, stored.embedding <-> $1 AS distance
    FROM {table} AS stored
    JOIN birdwalk.objects
        ON objects.run_id = $5 AND objects.image_id = stored.image_id AND objects.updated >= $7
    WHERE stored.bucket = $6 AND starts_with(stored.image_id, $3)
    ORDER BY stored.embedding <-> $1
    LIMIT $4
)
SELECT bucket, image_id, distance
FROM candidates
ORDER BY distance, image_id
LIMIT $2
