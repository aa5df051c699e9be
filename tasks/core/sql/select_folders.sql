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
