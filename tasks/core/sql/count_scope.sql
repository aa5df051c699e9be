-- Rows of the listed images; the images expected to have one: listed and not refused, nor left for
-- the next run without an older one; how many have none, or one of another version, and are not
-- left; and all that are left.
SELECT
    count(stored.image_id) AS rows,
    count(*) FILTER (
        WHERE refusals.image_id IS NULL
            AND (left_over.image_id IS NULL OR stored.image_id IS NOT NULL)
    ) AS expected,
    count(*) FILTER (
        WHERE refusals.image_id IS NULL AND left_over.image_id IS NULL
            AND stored.generation IS DISTINCT FROM objects.generation
    ) AS missing,
    count(left_over.image_id) AS left_over
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
LEFT JOIN birdwalk.pending AS left_over
    ON left_over.run_id = $1 AND left_over.image_id = objects.image_id
    AND left_over.error IS NOT NULL
WHERE objects.run_id = $1
