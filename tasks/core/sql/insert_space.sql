-- Register a space; a failed one is tried again under its old number.
INSERT INTO birdwalk.spaces (index_name, model, dimension, preprocessing)
VALUES ($1, $2, $3, $4)
ON CONFLICT (index_name, model, dimension, preprocessing) DO UPDATE
SET status = CASE spaces.status WHEN 'failed' THEN 'loading' ELSE spaces.status END
RETURNING space_id, index_name, model, dimension, preprocessing, status, ef_search
