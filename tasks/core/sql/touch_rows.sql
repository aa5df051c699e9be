-- Images that were written again with the same content keep their vectors.
UPDATE {table} AS stored SET generation = objects.generation
FROM birdwalk.objects
WHERE objects.run_id = $1 AND stored.bucket = $2 AND stored.image_id = objects.image_id
    AND stored.generation <> objects.generation
    AND stored.content_hash = objects.content_hash
    AND starts_with(objects.content_hash, 'md5:')
