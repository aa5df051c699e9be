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
