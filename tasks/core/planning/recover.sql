-- name: select_dead_runs
-- Earlier runs of a space that did not end well, and left batches that are not durable. One that was
-- killed is under way until the next run of the space says otherwise, but nobody works for it.
SELECT runs.run_id, runs.run_key, runs.bucket, runs.model
FROM birdwalk.runs
WHERE (runs.index_name, runs.model, runs.dimension, runs.preprocessing) = ($1, $2, $3, $4)
    AND runs.run_id <> $5
    AND (
        runs.verdict <> 'running'
        OR NOT EXISTS (
            SELECT FROM pg_locks AS locks
            WHERE locks.locktype = 'advisory' AND locks.granted
                AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (locks.classid::bigint << 32 | locks.objid::bigint)
                    = hashtextextended('birdwalk workers ' || runs.run_id, 0)
        )
    )
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
WHERE work.run_id = $1 AND work.batch = $2 AND NOT work.gone AND work.error IS NULL
    AND NOT batches.durable

-- name: update_run_recovered
-- Vectors that a run loaded from the parts of dead ones.
UPDATE birdwalk.runs SET recovered = recovered + $2 WHERE run_id = $1
