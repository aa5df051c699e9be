-- name: bury_dead_runs
-- A run that holds no index any more and never ended was killed.
UPDATE birdwalk.runs SET verdict = 'failed', message = 'killed', finished_at = now()
WHERE index_name = $1 AND run_id <> $2 AND verdict = 'running'
RETURNING run_id, model

-- name: finish_run
-- Close a run.
UPDATE birdwalk.runs SET finished_at = now(), seconds = $2, verdict = $3, message = $4
WHERE run_id = $1

-- name: give_up_shard
-- Let a shard of a run do no more: from now on its batches are the run's own.
UPDATE birdwalk.runs SET given_up = array_append(array_remove(given_up, $2), $2) WHERE run_id = $1

-- name: insert_run
-- Open a run.
INSERT INTO birdwalk.runs
    (index_name, bucket, prefix, model, dimension, preprocessing, requested_by, options)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING run_id, run_key

-- name: select_dead_runs
-- Earlier runs of an index that did not end well: their parts may hold paid vectors.
SELECT run_id, run_key, bucket, prefix, model, dimension, preprocessing
FROM birdwalk.runs
WHERE index_name = $1 AND run_id <> $2 AND verdict <> 'completed'
ORDER BY run_id

-- name: select_run
-- A run that is under way: what it was asked, where its files are, the shards it has given up.
SELECT run_key, options, given_up FROM birdwalk.runs WHERE run_id = $1 AND verdict = 'running'

-- name: select_run_changes
-- What a run did without calls.
SELECT recovered, reused, removed FROM birdwalk.runs WHERE run_id = $1

-- name: update_run_changes
-- What a run did without calls: vectors recovered, vectors reused, rows removed.
UPDATE birdwalk.runs SET
    recovered = recovered + $2, reused = reused + $3, removed = removed + $4
WHERE run_id = $1

-- name: update_run_totals
-- What a run's batches add up to; a model without a known price leaves the price as it was.
UPDATE birdwalk.runs SET
    embedded = total.embedded,
    refused = total.refused,
    calls = total.calls,
    retries = total.retries,
    deferrals = total.deferrals,
    price_usd = coalesce(total.answers * $2::numeric, price_usd)
FROM (
    SELECT
        coalesce(sum(batches.embedded), 0) AS embedded,
        coalesce(sum(batches.refused), 0) AS refused,
        coalesce(sum(batches.calls), 0) AS calls,
        coalesce(sum(batches.answers), 0) AS answers,
        coalesce(sum(batches.retries), 0) AS retries,
        coalesce(sum(batches.deferrals), 0) AS deferrals
    FROM birdwalk.batches
    WHERE batches.run_id = $1
) AS total
WHERE runs.run_id = $1
