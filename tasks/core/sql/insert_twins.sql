-- Let the twins of the images to be embedded wait in batch 0.
INSERT INTO birdwalk.pending
    (run_id, batch, image_id, generation, content_type, content_hash, kind)
SELECT $1, 0, image_id, generation, content_type, content_hash, kind_as_twin
FROM diff
WHERE kind_as_twin IS NOT NULL
