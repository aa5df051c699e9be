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
