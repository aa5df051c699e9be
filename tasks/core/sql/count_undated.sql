-- Rows of which the last listing tells no date: not in it, of another bucket, or without one.
SELECT count(*)
FROM {table} AS stored
LEFT JOIN birdwalk.objects
    ON objects.run_id = $2 AND objects.image_id = stored.image_id AND stored.bucket = $3
WHERE starts_with(stored.image_id, $1) AND objects.updated IS NULL
