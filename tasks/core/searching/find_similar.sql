-- name: search
-- The nearest images whose name begins with a prefix, equally near ones by their names. Of the $4
-- candidates, which a relaxed index scan gives almost in order, the best $2.
WITH candidates AS MATERIALIZED (
    SELECT stored.bucket, stored.image_id, stored.embedding <-> $1 AS distance
    FROM {table} AS stored
    WHERE starts_with(stored.image_id, $3)
    ORDER BY stored.embedding <-> $1
    LIMIT $4
)
SELECT bucket, image_id, distance
FROM candidates
ORDER BY distance, image_id, bucket
LIMIT $2

-- name: search_uploaded
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

-- name: count_undated
-- Rows of which the last listing tells no date: not in it, of another bucket, or without one.
SELECT count(*)
FROM {table} AS stored
LEFT JOIN birdwalk.objects
    ON objects.run_id = $2 AND objects.image_id = stored.image_id AND stored.bucket = $3
WHERE starts_with(stored.image_id, $1) AND objects.updated IS NULL
