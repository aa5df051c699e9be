-- Images whose content the space has under another name get that vector.
WITH missing AS MATERIALIZED (
    SELECT objects.image_id, objects.generation, objects.content_hash
    FROM birdwalk.objects
    LEFT JOIN {table} AS stored
        ON stored.bucket = $2 AND stored.image_id = objects.image_id
        AND stored.generation = objects.generation
    WHERE objects.run_id = $1 AND stored.image_id IS NULL
        AND starts_with(objects.content_hash, 'md5:')
)
INSERT INTO {table} AS stored (bucket, image_id, embedding, generation, content_hash)
SELECT DISTINCT ON (missing.image_id)
    $2, missing.image_id, donor.embedding, missing.generation, missing.content_hash
FROM missing
JOIN {table} AS donor ON donor.content_hash = missing.content_hash
ORDER BY missing.image_id
ON CONFLICT (bucket, image_id) DO UPDATE SET
    embedding = excluded.embedding,
    generation = excluded.generation,
    content_hash = excluded.content_hash,
    embedded_at = now()
