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
