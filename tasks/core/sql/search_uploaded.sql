-- The same, of the images that the last listing dates at or after a time.
SELECT stored.bucket, stored.image_id, stored.embedding <-> $1 AS distance
FROM {table} AS stored
JOIN birdwalk.objects
    ON objects.run_id = $4 AND objects.image_id = stored.image_id AND objects.updated >= $6
WHERE stored.bucket = $5 AND starts_with(stored.image_id, $3)
ORDER BY stored.embedding <-> $1, stored.image_id
LIMIT $2
