-- Rows of the listed part of the bucket, and how many of their images are not listed any more.
SELECT
    count(*) AS rows,
    count(*) FILTER (WHERE objects.image_id IS NULL) AS gone
FROM {table} AS stored
LEFT JOIN birdwalk.objects
    ON objects.run_id = $1 AND objects.image_id = stored.image_id
WHERE stored.bucket = $2 AND starts_with(stored.image_id, $3)
