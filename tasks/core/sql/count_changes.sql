-- How the listing differs from the space's table, in images.
SELECT
    count(*) AS listed,
    count(*) FILTER (WHERE refusals.image_id IS NOT NULL) AS refused_before,
    count(*) FILTER (WHERE stored.image_id IS NULL AND refusals.image_id IS NULL) AS new,
    count(*) FILTER (
        WHERE stored.generation <> objects.generation AND refusals.image_id IS NULL
    ) AS changed
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE objects.run_id = $1
