-- Rows of the listed part of the bucket, and the images expected there: listed and not refused.
SELECT
    (
        SELECT count(*) FROM {table} AS stored
        WHERE stored.bucket = $2
            AND starts_with(stored.image_id, $3)
            AND ($4::text IS NULL OR stored.image_id <= $4 COLLATE "C")
    ) AS rows,
    (
        SELECT count(*) FROM birdwalk.objects
        LEFT JOIN birdwalk.refusals
            ON refusals.space_id = $5 AND refusals.bucket = $2
            AND refusals.image_id = objects.image_id
            AND refusals.generation = objects.generation
        WHERE objects.run_id = $1 AND refusals.image_id IS NULL
    ) AS expected
