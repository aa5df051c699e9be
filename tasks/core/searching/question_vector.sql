-- name: select_images_called
-- The images of a name, one a bucket. The key begins with the bucket, so that the buckets are
-- hopped through first: no scan of the names on any version of Postgres.
WITH RECURSIVE buckets AS (
    SELECT min(bucket) AS bucket FROM {table}
    UNION ALL
    SELECT (SELECT min(stored.bucket) FROM {table} AS stored WHERE stored.bucket > buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT stored.bucket, stored.embedding
FROM buckets
JOIN {table} AS stored ON stored.bucket = buckets.bucket AND stored.image_id = $1
ORDER BY stored.bucket

-- name: select_name_like
-- Names of a space close to the one that was asked for.
SELECT image_id
FROM {table}
WHERE position(lower($1) IN lower(image_id)) > 0
    OR position(lower(image_id) IN lower($1)) > 0
ORDER BY abs(length(image_id) - length($1)), image_id
LIMIT 1
