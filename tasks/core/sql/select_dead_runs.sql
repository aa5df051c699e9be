-- Earlier runs of an index that did not end well: their parts may hold paid vectors.
SELECT run_id, run_key, bucket, prefix, model, dimension, preprocessing
FROM birdwalk.runs
WHERE index_name = $1 AND run_id <> $2 AND verdict <> 'completed'
ORDER BY run_id
