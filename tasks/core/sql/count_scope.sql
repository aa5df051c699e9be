-- Rows of the listed images, and the images expected to have one: listed and not refused; of these,
-- how many have none, or one of another version.
SELECT
    count(stored.image_id) AS rows,
    count(*) FILTER (WHERE refusals.image_id IS NULL) AS expected,
    count(*) FILTER (
        WHERE refusals.image_id IS NULL AND stored.generation IS DISTINCT FROM objects.generation
    ) AS missing
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE objects.run_id = $1
