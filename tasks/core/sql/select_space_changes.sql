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
