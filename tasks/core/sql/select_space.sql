-- The space of an index with this model, dimension and preprocessing.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search
FROM birdwalk.spaces
WHERE index_name = $1 AND model = $2 AND dimension = $3 AND preprocessing = $4
