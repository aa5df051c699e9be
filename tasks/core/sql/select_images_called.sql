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
