-- name: select_page_after
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

-- name: select_page_before
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

-- name: select_folders
-- The folders of the names from $1 to before $2, where $1 is a prefix: what stands up to the next
-- slash. From the first name of a folder the search hops behind its last, which is before the
-- character that follows the slash; from a name outside of folders to the next. $3 hops at most in
-- each bucket: where the last of them still found a name, there may be more folders.
WITH RECURSIVE buckets AS (
    SELECT min(bucket) AS bucket FROM {table}
    UNION ALL
    SELECT (SELECT min(stored.bucket) FROM {table} AS stored WHERE stored.bucket > buckets.bucket)
    FROM buckets
    WHERE buckets.bucket IS NOT NULL
)
SELECT
    array_agg(DISTINCT found.folder ORDER BY found.folder)
        FILTER (WHERE found.folder IS NOT NULL) AS folders,
    bool_or(found.image_id IS NOT NULL AND found.number = $3) AS cut_short
FROM buckets
CROSS JOIN LATERAL (
    WITH RECURSIVE hops AS (
        SELECT 1 AS number, (
            SELECT min(stored.image_id)
            FROM {table} AS stored
            WHERE stored.bucket = buckets.bucket
                AND stored.image_id >= $1 AND stored.image_id < $2
        ) AS image_id
        UNION ALL
        SELECT hops.number + 1, (
            SELECT min(stored.image_id)
            FROM {table} AS stored
            WHERE stored.bucket = buckets.bucket
                AND stored.image_id >= CASE
                    WHEN position('/' IN substr(hops.image_id, length($1) + 1)) > 0
                    THEN $1 || split_part(substr(hops.image_id, length($1) + 1), '/', 1) || '0'
                    ELSE hops.image_id || chr(1)
                END
                AND stored.image_id < $2
        )
        FROM hops
        WHERE hops.image_id IS NOT NULL AND hops.number < $3
    )
    SELECT
        hops.number,
        hops.image_id,
        CASE
            WHEN position('/' IN substr(hops.image_id, length($1) + 1)) > 0
            THEN $1 || split_part(substr(hops.image_id, length($1) + 1), '/', 1) || '/'
        END AS folder
    FROM hops
) AS found

-- name: select_generation
-- Which version of an object a space has the vector of; no row where it has none.
SELECT generation FROM {table} WHERE bucket = $1 AND image_id = $2

-- name: select_generations
-- Which version of each of some objects a space has the vector of.
SELECT stored.bucket, stored.image_id, stored.generation
FROM unnest($1::text[], $2::text[]) AS asked (bucket, image_id)
JOIN {table} AS stored ON stored.bucket = asked.bucket AND stored.image_id = asked.image_id

-- name: select_syncs
-- When each part of a bucket was last synced into an index, the latest first. A sync is known by its
-- last step.
SELECT bucket, prefix, max(finished_at) AS synced_at
FROM birdwalk.runs
WHERE index_name = $1 AND verdict = 'completed' AND seconds ? 'publish'
GROUP BY bucket, prefix
ORDER BY synced_at DESC, bucket, prefix
