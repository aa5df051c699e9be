-- Forget an index's spaces; their refusals go with them.
DELETE FROM birdwalk.spaces
WHERE index_name = $1
RETURNING space_id, index_name, model, dimension, preprocessing, status, ef_search
