-- Find images whose content the space has under another name: all of it is in the key's index, so
-- that no vector is read.
WITH missing AS MATERIALIZED (
    SELECT objects.image_id, objects.generation, objects.content_hash
    FROM birdwalk.objects
    LEFT JOIN {table} AS stored
        ON stored.bucket = $2 AND stored.image_id = objects.image_id
        AND stored.generation = objects.generation
    WHERE objects.run_id = $1 AND stored.image_id IS NULL
        AND starts_with(objects.content_hash, 'md5:')
),
donors AS MATERIALIZED (
    SELECT DISTINCT ON (content_hash) content_hash, bucket, image_id
    FROM {table}
    WHERE content_hash IN (SELECT content_hash FROM missing)
    ORDER BY content_hash
)
INSERT INTO copies (image_id, generation, content_hash, donor_bucket, donor_image_id)
SELECT missing.image_id, missing.generation, missing.content_hash, donors.bucket, donors.image_id
FROM missing
JOIN donors USING (content_hash)
