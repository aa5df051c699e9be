-- The space that readers of an index see.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search
FROM birdwalk.spaces
WHERE index_name = $1 AND status = 'active'
