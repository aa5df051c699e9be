-- Earlier runs of this index and space that did not end well: their parts may hold paid vectors.
SELECT run_id, run_key, bucket, prefix
FROM birdwalk.runs
WHERE index_name = $1 AND model = $2 AND dimension = $3 AND preprocessing = $4
    AND run_id <> $5 AND verdict <> 'completed'
ORDER BY run_id
