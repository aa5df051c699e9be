-- Cut what must be embedded into batches of $2 images, in the order of their names.
INSERT INTO birdwalk.pending
    (run_id, batch, image_id, generation, content_type, content_hash, kind)
SELECT
    $1,
    (row_number() OVER (ORDER BY image_id) - 1) / $2::integer + 1,
    image_id,
    generation,
    content_type,
    content_hash,
    kind
FROM diff
WHERE kind IN ('new', 'changed')
