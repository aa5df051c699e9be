-- The images before $2 of bucket $1, the last first, of those from $3 to before $4: the mirror image
-- of select_page_after.
WITH RECURSIVE buckets AS (
    SELECT max(bucket) AS bucket FROM {table} WHERE bucket <= $1
    UNION ALL
    SELECT (SELECT max(stored.bucket) FROM {table} AS stored WHERE stored.bucket < buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT page.bucket, page.image_id, page.generation
FROM buckets
CROSS JOIN LATERAL (
    SELECT stored.bucket, stored.image_id, stored.generation
    FROM {table} AS stored
    WHERE stored.bucket = buckets.bucket
        AND stored.image_id < CASE WHEN buckets.bucket = $1 THEN $2 ELSE $4 END
        AND stored.image_id >= $3
        AND stored.image_id < $4
    ORDER BY stored.image_id DESC
    LIMIT $5
) AS page
ORDER BY page.bucket DESC, page.image_id DESC
LIMIT $5
