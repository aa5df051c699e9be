-- name: count_pending
-- Images that a run leaves for the next one.
SELECT count(*) FROM birdwalk.pending WHERE run_id = $1 AND error IS NOT NULL

-- name: insert_tally
-- What a batch has sent that is not durable: its run ended, or its shard is still at it. Counts only
-- grow, so that what its CSV part shows and what was counted before add nothing to each other.
INSERT INTO birdwalk.batches
    (run_id, batch, images, embedded, recovered, refused, gone, pending,
     calls, answers, retries, deferrals, durable)
VALUES ($1, $2, 0, 0, 0, $3, $4, $5, $6, $7, $8, $9, false)
ON CONFLICT (run_id, batch) DO UPDATE SET
    refused = greatest(batches.refused, excluded.refused),
    gone = greatest(batches.gone, excluded.gone),
    pending = greatest(batches.pending, excluded.pending),
    calls = greatest(batches.calls, excluded.calls),
    answers = greatest(batches.answers, excluded.answers),
    retries = greatest(batches.retries, excluded.retries),
    deferrals = greatest(batches.deferrals, excluded.deferrals)
WHERE NOT batches.durable

-- name: select_batch
-- The images of one batch: whether an earlier attempt of it was refused them, or found them gone.
SELECT
    pending.image_id,
    pending.generation,
    pending.content_type,
    pending.content_hash,
    pending.kind,
    refusals.image_id IS NOT NULL AS refused,
    objects.image_id IS NULL AS gone
FROM birdwalk.pending
JOIN birdwalk.runs ON runs.run_id = pending.run_id
LEFT JOIN birdwalk.objects
    ON objects.run_id = pending.run_id AND objects.image_id = pending.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $4
    AND refusals.image_id = pending.image_id AND refusals.generation = pending.generation
    AND refusals.refused_at >= runs.started_at
WHERE pending.run_id = $1 AND pending.batch = $2
ORDER BY pending.image_id

-- name: select_batch_vectors
-- The vectors that a batch of a run has written.
SELECT stored.image_id, stored.embedding
FROM birdwalk.pending
JOIN {table} AS stored
    ON stored.bucket = $3 AND stored.image_id = pending.image_id
    AND stored.generation = pending.generation
WHERE pending.run_id = $1 AND pending.batch = $2
ORDER BY stored.image_id

-- name: select_finished_batches
-- The batches of a run that are durable.
SELECT batch FROM birdwalk.batches WHERE run_id = $1 AND durable

-- name: select_run_totals
-- What a run's batches add up to.
SELECT
    coalesce(sum(images), 0)::bigint AS images,
    coalesce(sum(embedded), 0)::bigint AS embedded,
    coalesce(sum(recovered), 0)::bigint AS recovered,
    coalesce(sum(refused), 0)::bigint AS refused,
    coalesce(sum(gone), 0)::bigint AS gone,
    coalesce(sum(pending), 0)::bigint AS pending,
    coalesce(sum(calls), 0)::bigint AS calls,
    coalesce(sum(answers), 0)::bigint AS answers,
    coalesce(sum(retries), 0)::bigint AS retries,
    coalesce(sum(deferrals), 0)::bigint AS deferrals
FROM birdwalk.batches
WHERE run_id = $1

-- name: select_unfinished_tallies
-- What batches of a run have sent that are not durable, as far as it was counted.
SELECT batch, refused, gone, pending, calls, answers, retries, deferrals
FROM birdwalk.batches
WHERE run_id = $1 AND NOT durable
