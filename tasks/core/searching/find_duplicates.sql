-- name: select_same_bytes
-- Images of the same content, each with the first of its kind.
SELECT copy.bucket, copy.image_id, copy.other_bucket, copy.other_image_id, 0::float8 AS distance
FROM (
    SELECT
        bucket,
        image_id,
        first_value(bucket) OVER content AS other_bucket,
        first_value(image_id) OVER content AS other_image_id
    FROM {table}
    WHERE starts_with(content_hash, 'md5:') AND starts_with(image_id, $1)
    WINDOW content AS (PARTITION BY content_hash ORDER BY bucket, image_id)
) AS copy
WHERE (copy.bucket, copy.image_id) <> (copy.other_bucket, copy.other_image_id)

-- name: select_near_pairs
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
