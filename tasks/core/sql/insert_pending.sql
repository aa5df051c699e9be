-- Cut what must be embedded into batches of $4 images, in the order of their names.
INSERT INTO birdwalk.pending
    (run_id, batch, image_id, generation, content_type, content_hash, kind)
SELECT
    objects.run_id,
    (row_number() OVER (ORDER BY objects.image_id) - 1) / $4::integer + 1,
    objects.image_id,
    objects.generation,
    objects.content_type,
    objects.content_hash,
    CASE WHEN stored.image_id IS NULL THEN 'new' ELSE 'changed' END
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE objects.run_id = $1
    AND refusals.image_id IS NULL
    AND (stored.image_id IS NULL OR stored.generation <> objects.generation)
