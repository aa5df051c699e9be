-- A space against the last listing of its index. What it was refused, it does not lack.
WITH last AS (
    SELECT run_id, bucket, prefix
    FROM birdwalk.runs
    WHERE run_id = (
        SELECT max(objects.run_id)
        FROM birdwalk.objects
        JOIN birdwalk.runs USING (run_id)
        WHERE runs.index_name = $1
    )
)
SELECT
    count(objects.image_id) AS listed,
    count(*) FILTER (WHERE objects.image_id IS NOT NULL AND stored.image_id IS NULL) AS missing,
    count(*) FILTER (WHERE stored.generation <> objects.generation) AS outdated,
    count(*) FILTER (WHERE objects.image_id IS NULL AND stored.image_id IS NOT NULL) AS gone
FROM (
    SELECT objects.image_id, objects.generation
    FROM birdwalk.objects
    JOIN last USING (run_id)
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $2 AND refusals.bucket = last.bucket
        AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
    WHERE refusals.image_id IS NULL
) AS objects
FULL JOIN (
    SELECT space.image_id, space.generation
    FROM {table} AS space
    JOIN last ON space.bucket = last.bucket AND starts_with(space.image_id, last.prefix)
) AS stored USING (image_id)
