-- name: select_page_after
-- The images behind $2 of bucket $1, of those from $3 to before $4. However far in they are, no more
-- are read than returned, and those that readers do not see between them. The key begins with the
-- bucket, so the search goes from bucket to bucket.
WITH RECURSIVE buckets AS (
    SELECT min(bucket) AS bucket FROM {images} WHERE bucket >= $1
    UNION ALL
    SELECT (SELECT min(images.bucket) FROM {images} AS images WHERE images.bucket > buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT page.bucket, page.image_id, page.generation, page.content_key
FROM buckets
CROSS JOIN LATERAL (
    SELECT images.bucket, images.image_id, images.generation, images.content_key
    FROM {images} AS images
    JOIN {vectors} AS vectors USING (content_key)
    WHERE images.bucket = buckets.bucket
        AND images.image_id > CASE WHEN buckets.bucket = $1 THEN $2 ELSE '' END
        AND images.image_id >= $3
        AND images.image_id < $4
    ORDER BY images.image_id
    LIMIT $5
) AS page
ORDER BY page.bucket, page.image_id
LIMIT $5

-- name: select_page_before
-- The images before $2 of bucket $1, the last first, of those from $3 to before $4: select_page_after
-- in the other direction.
WITH RECURSIVE buckets AS (
    SELECT max(bucket) AS bucket FROM {images} WHERE bucket <= $1
    UNION ALL
    SELECT (SELECT max(images.bucket) FROM {images} AS images WHERE images.bucket < buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT page.bucket, page.image_id, page.generation, page.content_key
FROM buckets
CROSS JOIN LATERAL (
    SELECT images.bucket, images.image_id, images.generation, images.content_key
    FROM {images} AS images
    JOIN {vectors} AS vectors USING (content_key)
    WHERE images.bucket = buckets.bucket
        AND images.image_id < CASE WHEN buckets.bucket = $1 THEN $2 ELSE $4 END
        AND images.image_id >= $3
        AND images.image_id < $4
    ORDER BY images.image_id DESC
    LIMIT $5
) AS page
ORDER BY page.bucket DESC, page.image_id DESC
LIMIT $5

-- name: select_folders
-- The folders of the names from $1 to before $2, where $1 is a prefix: a folder is what stands up to
-- the next slash. From the first image of a folder the search goes on behind its last, which is
-- before the character that follows the slash; from a name outside of folders to the next. It takes
-- $3 such steps at most in each bucket: where the last of them still found a name, there may be more
-- folders. One with no image that readers see is none.
WITH RECURSIVE buckets AS (
    SELECT min(bucket) AS bucket FROM {images}
    UNION ALL
    SELECT (SELECT min(images.bucket) FROM {images} AS images WHERE images.bucket > buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT
    array_agg(DISTINCT found.folder ORDER BY found.folder)
        FILTER (WHERE found.folder IS NOT NULL) AS folders,
    bool_or(found.number = $3) AS cut_short
FROM buckets
CROSS JOIN LATERAL (
    WITH RECURSIVE steps AS (
        SELECT 0 AS number, NULL::text COLLATE "C" AS folder, $1::text COLLATE "C" AS start
        UNION ALL
        SELECT
            steps.number + 1,
            next.folder,
            coalesce(left(next.folder, -1) || '0', next.image_id || chr(1))
        FROM steps
        CROSS JOIN LATERAL (
            SELECT
                images.image_id,
                CASE
                    WHEN position('/' IN substr(images.image_id, length($1) + 1)) > 0
                    THEN $1 || split_part(substr(images.image_id, length($1) + 1), '/', 1) || '/'
                END AS folder
            FROM {images} AS images
            JOIN {vectors} AS vectors USING (content_key)
            WHERE images.bucket = buckets.bucket
                AND images.image_id >= steps.start AND images.image_id < $2
            ORDER BY images.image_id
            LIMIT 1
        ) AS next
        WHERE steps.number < $3
    )
    SELECT number, folder FROM steps
) AS found

-- name: select_image
-- An image as readers see it; no row where they see none of that name.
SELECT images.bucket, images.image_id, images.generation, images.content_key
FROM {images} AS images
JOIN {vectors} AS vectors USING (content_key)
WHERE images.bucket = $1 AND images.image_id = $2

-- name: select_published
-- The indexes that readers see.
SELECT index_name FROM birdwalk.indexes WHERE space_id IS NOT NULL ORDER BY index_name

-- name: select_syncs
-- When each part of a bucket was last published in an index, the latest first.
SELECT bucket, prefix, max(published_at) AS synced_at
FROM birdwalk.runs
WHERE index_name = $1 AND published_at IS NOT NULL
GROUP BY bucket, prefix
ORDER BY synced_at DESC, bucket, prefix
