-- The space that an index shows, where it is another one.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search
FROM birdwalk.spaces
WHERE index_name = $1 AND status = 'active' AND space_id <> $2
