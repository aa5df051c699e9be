-- The first image of the listed part of the bucket that has a vector.
SELECT stored.image_id
FROM {table} AS stored
JOIN birdwalk.objects ON objects.run_id = $1 AND objects.image_id = stored.image_id
WHERE stored.bucket = $2
ORDER BY stored.image_id
LIMIT 1
