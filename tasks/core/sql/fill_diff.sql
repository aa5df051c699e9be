-- Compare the listing with the table: by generation, then by content.
INSERT INTO diff (image_id, generation, content_type, content_hash, kind)
SELECT
    objects.image_id,
    objects.generation,
    objects.content_type,
    objects.content_hash,
    CASE
        WHEN refusals.image_id IS NOT NULL THEN 'refused before'
        WHEN stored.image_id IS NULL THEN 'new'
        WHEN stored.content_hash = objects.content_hash AND starts_with(objects.content_hash, 'md5:')
            THEN 'touched'
        ELSE 'changed'
    END
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON NOT $4 AND refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE objects.run_id = $1
    AND (stored.image_id IS NULL OR stored.generation <> objects.generation)
