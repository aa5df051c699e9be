-- name: select_last_listing
-- The run whose listing of the bucket is the index's last, of what, and whether to its end. One
-- image of each run is looked for by the key, in its order: as a mere EXISTS, all listings would be
-- read through.
SELECT
    runs.run_id,
    runs.bucket,
    runs.prefix,
    runs.started_at AS listed_at,
    runs.options ->> 'limit' IS NULL AS whole
FROM birdwalk.runs
WHERE runs.index_name = $1
    AND (
        SELECT true FROM birdwalk.objects
        WHERE objects.run_id = runs.run_id
        ORDER BY objects.run_id, objects.image_id
        LIMIT 1
    )
ORDER BY runs.run_id DESC
LIMIT 1

-- name: compare_space
-- A space against a listing, within the listed part. What it was refused, it does not lack; what it
-- has of an earlier version of that is to go.
SELECT
    count(*) FILTER (WHERE NOT objects.refused) AS listed,
    count(stored.image_id) AS compared,
    count(*) FILTER (WHERE NOT objects.refused AND stored.image_id IS NULL) AS missing,
    count(*) FILTER (
        WHERE NOT objects.refused AND stored.generation <> objects.generation
    ) AS outdated,
    count(*) FILTER (
        WHERE objects.image_id IS NULL
            OR (objects.refused AND stored.generation <> objects.generation)
    ) AS gone
FROM (
    SELECT objects.image_id, objects.generation, refusals.image_id IS NOT NULL AS refused
    FROM birdwalk.objects
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $4 AND refusals.bucket = $2
        AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
    WHERE objects.run_id = $1
) AS objects
FULL JOIN (
    SELECT space.image_id, space.generation
    FROM {table} AS space
    WHERE space.bucket = $2 AND starts_with(space.image_id, $3)
) AS stored USING (image_id)

-- name: select_space_changes
-- A few images each of what a space has not, has in an older version, and has though it is gone.
(
    SELECT 'missing' AS kind, objects.image_id
    FROM birdwalk.objects
    LEFT JOIN {table} AS stored
        ON stored.bucket = $2 AND stored.image_id = objects.image_id
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $4 AND refusals.bucket = $2
        AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
    WHERE objects.run_id = $1 AND stored.image_id IS NULL AND refusals.image_id IS NULL
    ORDER BY objects.image_id
    LIMIT 3
)
UNION ALL
(
    SELECT 'outdated', objects.image_id
    FROM birdwalk.objects
    JOIN {table} AS stored
        ON stored.bucket = $2 AND stored.image_id = objects.image_id
        AND stored.generation <> objects.generation
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $4 AND refusals.bucket = $2
        AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
    WHERE objects.run_id = $1 AND refusals.image_id IS NULL
    ORDER BY objects.image_id
    LIMIT 3
)
UNION ALL
(
    SELECT 'gone', stored.image_id
    FROM {table} AS stored
    LEFT JOIN birdwalk.objects
        ON objects.run_id = $1 AND objects.image_id = stored.image_id
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $4 AND refusals.bucket = $2
        AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
    WHERE $5 AND stored.bucket = $2 AND starts_with(stored.image_id, $3)
        AND (
            objects.image_id IS NULL
            OR (refusals.image_id IS NOT NULL AND stored.generation <> objects.generation)
        )
    ORDER BY stored.image_id
    LIMIT 3
)

-- name: select_extra
-- Rows of the listed part of the bucket whose image the listing does not have.
SELECT stored.image_id, count(*) OVER () AS total
FROM {table} AS stored
LEFT JOIN birdwalk.objects
    ON objects.run_id = $1 AND objects.image_id = stored.image_id
WHERE stored.bucket = $2
    AND starts_with(stored.image_id, $3)
    AND objects.image_id IS NULL
ORDER BY stored.image_id
LIMIT 5
