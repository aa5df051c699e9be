-- The vector of an image, if it has one, is not sure to be of the content that was listed: it must
-- not be given to any other.
UPDATE birdwalk.pending SET content_hash = NULL
WHERE run_id = $1 AND batch = $2 AND image_id = $3
