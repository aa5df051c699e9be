-- name: claim_batch
-- The first batch of a run that is not durable and that no process has, now held by this session. The
-- batches are sorted before any is tried, and no more are tried than until a lock is had: without
-- MATERIALIZED Postgres locks them all, and then sorts.
WITH open AS MATERIALIZED (
    SELECT batches.batch
    FROM birdwalk.batches
    WHERE batches.run_id = $1 AND NOT batches.durable AND batches.batch <> ALL ($2::integer[])
    ORDER BY batches.batch
)
SELECT open.batch
FROM open
WHERE pg_try_advisory_lock(hashtextextended('birdwalk batch ' || $1::bigint || ' ' || open.batch, 0))
LIMIT 1

-- name: select_is_open
-- Whether a batch is not durable.
SELECT NOT durable FROM birdwalk.batches WHERE run_id = $1 AND batch = $2

-- name: hold_batch
-- Hold a batch again, where the session that held it was lost.
SELECT pg_try_advisory_lock(hashtextextended('birdwalk batch ' || $1::bigint || ' ' || $2::integer, 0))

-- name: release_batch
-- Let others have a batch; whoever claims it finds it durable, or does it.
SELECT pg_advisory_unlock(hashtextextended('birdwalk batch ' || $1::bigint || ' ' || $2::integer, 0))

-- name: count_open_batches
-- Batches of a run that are not durable, but for some of them.
SELECT count(*) FROM birdwalk.batches
WHERE run_id = $1 AND NOT durable AND batch <> ALL ($2::integer[])

-- name: join_workers
-- Be counted among the processes that work for a run, as long as the session lasts.
SELECT pg_advisory_lock_shared(hashtextextended('birdwalk workers ' || $1::bigint, 0))

-- name: count_workers
-- Processes that work for a run.
SELECT count(*)
FROM pg_locks AS locks
WHERE locks.locktype = 'advisory' AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (locks.classid::bigint << 32 | locks.objid::bigint)
        = hashtextextended('birdwalk workers ' || $1::bigint, 0)

-- name: update_sent
-- What a batch has sent so far. Counts only grow, so that what its CSV part shows and what was
-- counted before add nothing to each other.
UPDATE birdwalk.batches SET
    recovered = greatest(recovered, $3),
    refused = greatest(refused, $4),
    gone = greatest(gone, $5),
    leftover = greatest(leftover, $6),
    calls = greatest(calls, $7),
    answers = greatest(answers, $8),
    retries = greatest(retries, $9),
    deferrals = greatest(deferrals, $10)
WHERE run_id = $1 AND batch = $2 AND NOT durable

-- name: finish_batch
-- A batch is durable, once; what it has sent is at least what was counted before.
UPDATE birdwalk.batches SET
    embedded = $3,
    recovered = $4,
    refused = $5,
    gone = $6,
    leftover = $7,
    calls = greatest(calls, $8),
    answers = greatest(answers, $9),
    retries = greatest(retries, $10),
    deferrals = greatest(deferrals, $11),
    durable = true,
    inserted_at = now()
WHERE run_id = $1 AND batch = $2 AND NOT durable
RETURNING batch

-- name: select_sent
-- What a batch that is not durable has sent, as far as it was counted.
SELECT images, embedded, recovered, refused, gone, leftover, calls, answers, retries, deferrals
FROM birdwalk.batches
WHERE run_id = $1 AND batch = $2 AND NOT durable

-- name: select_durable_batches
-- The batches of a run that are durable.
SELECT batch FROM birdwalk.batches WHERE run_id = $1 AND durable ORDER BY batch

-- name: select_run_totals
-- What a run's batches add up to, but for some of them; the images of those that are durable.
SELECT
    coalesce(sum(images) FILTER (WHERE durable), 0)::bigint AS images,
    coalesce(sum(embedded), 0)::bigint AS embedded,
    coalesce(sum(recovered), 0)::bigint AS recovered,
    coalesce(sum(refused), 0)::bigint AS refused,
    coalesce(sum(gone), 0)::bigint AS gone,
    coalesce(sum(leftover), 0)::bigint AS leftover,
    coalesce(sum(calls), 0)::bigint AS calls,
    coalesce(sum(answers), 0)::bigint AS answers,
    coalesce(sum(retries), 0)::bigint AS retries,
    coalesce(sum(deferrals), 0)::bigint AS deferrals
FROM birdwalk.batches
WHERE run_id = $1 AND batch <> ALL ($2::integer[])
