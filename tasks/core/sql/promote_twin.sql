-- The next image of a content takes the place of one that cannot give it a vector.
UPDATE birdwalk.pending SET batch = $2
WHERE run_id = $1 AND batch = 0 AND image_id = (
    SELECT image_id FROM birdwalk.pending
    WHERE run_id = $1 AND batch = 0 AND content_hash = $3
    ORDER BY image_id
    LIMIT 1
)
RETURNING image_id, generation, content_type, content_hash
