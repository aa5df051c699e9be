-- The spaces of an index, the newest first.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search, rows, recall,
    published_at
FROM birdwalk.spaces
WHERE index_name = $1
ORDER BY space_id DESC
