-- Images that left the bucket leave the index.
DELETE FROM {table} AS stored
WHERE stored.bucket = $2 AND starts_with(stored.image_id, $3)
    AND NOT EXISTS (
        SELECT FROM birdwalk.objects
        WHERE objects.run_id = $1 AND objects.image_id = stored.image_id
    )
