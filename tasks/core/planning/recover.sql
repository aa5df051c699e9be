-- name: select_dead_runs
-- Earlier runs of a space that did not end well, and left batches that are not durable.
SELECT runs.run_id, runs.run_key, runs.bucket, runs.model
FROM birdwalk.runs
WHERE (runs.index_name, runs.model, runs.dimension, runs.preprocessing) = ($1, $2, $3, $4)
    AND runs.run_id <> $5 AND runs.verdict <> 'running'
    AND EXISTS (
        SELECT FROM birdwalk.batches
        WHERE batches.run_id = runs.run_id AND NOT batches.durable
    )
ORDER BY runs.run_id

-- name: select_asked
-- The contents of a batch that is not durable, and the object version that each was asked by.
SELECT work.content_key, work.image_id, work.generation
FROM birdwalk.work
JOIN birdwalk.batches USING (run_id, batch)
WHERE run_id = $1 AND batch = $2 AND NOT batches.durable AND NOT work.gone AND work.error IS NULL

-- name: update_run_recovered
-- Vectors that a run loaded from the parts of dead ones.
UPDATE birdwalk.runs SET recovered = recovered + $2 WHERE run_id = $1
