-- Each image with those of its nearest that are within a distance: one search a row, through the
-- index where there is one.
SELECT
    one.bucket, one.image_id,
    other.bucket AS other_bucket, other.image_id AS other_image_id, other.distance
FROM {table} AS one
CROSS JOIN LATERAL (
    SELECT stored.bucket, stored.image_id, stored.embedding <-> one.embedding AS distance
    FROM {table} AS stored
    WHERE starts_with(stored.image_id, $2)
    ORDER BY stored.embedding <-> one.embedding
    LIMIT $3
) AS other
WHERE starts_with(one.image_id, $2)
    AND other.distance <= $1
    AND (other.bucket, other.image_id) <> (one.bucket, one.image_id)
