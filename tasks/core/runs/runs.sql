-- name: insert_run
-- Open a run.
INSERT INTO birdwalk.runs
    (index_name, bucket, prefix, model, dimension, preprocessing, plan_only, requested_by, options)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING run_id, run_key

-- name: select_run
-- A run that is under way: what it was asked, and where its files are.
SELECT run_key, options FROM birdwalk.runs WHERE run_id = $1 AND verdict = 'running'

-- name: lock_running_run
-- Whether a run is still under way, and stays so until the caller's transaction ends.
SELECT true FROM birdwalk.runs WHERE run_id = $1 AND verdict = 'running' FOR SHARE

-- name: bury_dead_runs
-- The runs of an index that never ended and that nobody works for: those of the space that $5
-- holds, and plans whose session is gone. What a run published stands, so that one has completed.
UPDATE birdwalk.runs SET
    verdict = CASE WHEN published_at IS NULL THEN 'failed' ELSE 'completed' END,
    message = CASE WHEN published_at IS NULL THEN 'killed' ELSE '' END,
    finished_at = now()
WHERE index_name = $1 AND run_id <> $5 AND verdict = 'running'
    AND CASE
        WHEN plan_only THEN NOT EXISTS (
            SELECT FROM pg_locks AS locks
            WHERE locks.locktype = 'advisory' AND locks.granted
                AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (locks.classid::bigint << 32 | locks.objid::bigint)
                    = hashtextextended('birdwalk workers ' || runs.run_id, 0)
        )
        ELSE (model, dimension, preprocessing) = ($2, $3, $4)
    END
RETURNING run_id, model

-- name: finish_run
-- Close a run. One whose work readers see has completed, whatever came after.
UPDATE birdwalk.runs SET
    finished_at = now(),
    seconds = $2,
    verdict = CASE WHEN published_at IS NULL THEN $3 ELSE 'completed' END,
    message = $4
WHERE run_id = $1 AND (verdict = 'running' OR published_at IS NOT NULL)

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

-- name: select_run_changes
-- What a run did without calls.
SELECT recovered, taken_over, changed, removed FROM birdwalk.runs WHERE run_id = $1

-- name: delete_listing
-- A plan leaves nothing behind.
DELETE FROM birdwalk.listings WHERE run_id = $1
