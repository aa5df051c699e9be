-- The images behind $2 of bucket $1, of those from $3 to before $4: no more are read than returned,
-- however far in they are. The buckets are hopped through, since the key begins with them.
WITH RECURSIVE buckets AS (
    SELECT min(bucket) AS bucket FROM {table} WHERE bucket >= $1
    UNION ALL
    SELECT (SELECT min(stored.bucket) FROM {table} AS stored WHERE stored.bucket > buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT page.bucket, page.image_id, page.generation
FROM buckets
CROSS JOIN LATERAL (
    SELECT stored.bucket, stored.image_id, stored.generation
    FROM {table} AS stored
    WHERE stored.bucket = buckets.bucket
        AND stored.image_id > CASE WHEN buckets.bucket = $1 THEN $2 ELSE '' END
        AND stored.image_id >= $3
        AND stored.image_id < $4
    ORDER BY stored.image_id
    LIMIT $5
) AS page
ORDER BY page.bucket, page.image_id
LIMIT $5
