-- name: select_earlier_runs
-- The runs of an index that are over, the last first, and whether their space and their work list are.
SELECT
    runs.run_id,
    runs.run_key,
    runs.verdict = 'completed' AS completed,
    EXISTS (
        SELECT FROM birdwalk.spaces
        WHERE (spaces.index_name, spaces.model, spaces.dimension, spaces.preprocessing)
            = (runs.index_name, runs.model, runs.dimension, runs.preprocessing)
    ) AS has_space,
    EXISTS (
        SELECT FROM birdwalk.pending WHERE pending.run_id = runs.run_id
    ) AS has_work
FROM birdwalk.runs
WHERE runs.index_name = $1 AND runs.run_id <> $2 AND runs.verdict <> 'running'
ORDER BY runs.run_id DESC
