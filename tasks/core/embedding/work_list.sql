-- name: clear_errors
-- What is tried again is not left. A content that was overwritten, $3, stays so: the run's listing
-- has no object of it any more, and a process that still loads must not take the answer for it.
UPDATE birdwalk.work SET error = NULL
WHERE run_id = $1 AND batch = $2 AND error IS NOT NULL AND error <> $3

-- name: select_batch
-- The contents of a batch, and whether an earlier attempt of it was refused them.
SELECT
    work.content_key,
    work.image_id,
    work.generation,
    work.content_type,
    work.gone,
    refusals.content_key IS NOT NULL AS refused
FROM birdwalk.work
JOIN birdwalk.runs USING (run_id)
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.content_key = work.content_key
    AND refusals.last_refused >= runs.started_at
WHERE work.run_id = $1 AND work.batch = $2
ORDER BY work.image_id

-- name: select_batches
-- The batches that a run was cut into.
SELECT batch, images FROM birdwalk.batches WHERE run_id = $1 ORDER BY batch

-- name: insert_refusal
-- Remember a content that the model refused.
INSERT INTO birdwalk.refusals (space_id, content_key, reason)
VALUES ($1, $2, $3)
ON CONFLICT (space_id, content_key) DO UPDATE SET
    reason = excluded.reason,
    attempts = refusals.attempts + 1,
    last_refused = now()

-- name: update_error
-- Leave a content for the next run, and say why.
UPDATE birdwalk.work SET error = $4 WHERE run_id = $1 AND batch = $2 AND content_key = $3

-- name: update_gone
-- A content is gone when no listed object has it any more: one that was overwritten still counts.
UPDATE birdwalk.work SET gone = true
WHERE run_id = $1 AND batch = $2 AND content_key = $3
    AND NOT EXISTS (SELECT FROM birdwalk.listings WHERE run_id = $1 AND content_key = $3)
RETURNING gone

-- name: delete_gone_object
-- The object vanished after it was listed.
DELETE FROM birdwalk.listings WHERE run_id = $1 AND image_id = $2

-- name: ask_by_next_object
-- Let a content be asked for by the next object that was listed with it, in the order of names.
UPDATE birdwalk.work SET
    image_id = next.image_id, generation = next.generation, content_type = next.content_type
FROM (
    SELECT image_id, generation, content_type
    FROM birdwalk.listings
    WHERE run_id = $1 AND content_key = $3 AND image_id > $4
    ORDER BY image_id
    LIMIT 1
) AS next
WHERE work.run_id = $1 AND work.batch = $2 AND work.content_key = $3
RETURNING work.content_key, work.image_id, work.generation, work.content_type
