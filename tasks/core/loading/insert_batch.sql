-- name: delete_overruled_refusals
-- Images of a batch that have a vector now are refused no longer.
DELETE FROM birdwalk.refusals
USING birdwalk.pending
WHERE refusals.space_id = $3 AND refusals.bucket = $4
    AND pending.run_id = $1 AND pending.batch = $2
    AND refusals.image_id = pending.image_id
    AND EXISTS (
        SELECT FROM {table} AS stored
        WHERE stored.bucket = $4 AND stored.image_id = pending.image_id
            AND stored.generation = pending.generation
    )

-- name: insert_batch
-- A batch is durable; written once, so that a repeated insert counts nothing twice. Its counts hold
-- what it had sent before; where less of that is known now than when it was counted, that stands.
INSERT INTO birdwalk.batches
    (run_id, batch, images, embedded, recovered, refused, gone, pending,
     calls, answers, retries, deferrals)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (run_id, batch) DO UPDATE SET
    images = excluded.images,
    embedded = excluded.embedded,
    recovered = excluded.recovered,
    refused = excluded.refused,
    gone = excluded.gone,
    pending = excluded.pending,
    calls = greatest(batches.calls, excluded.calls),
    answers = greatest(batches.answers, excluded.answers),
    retries = greatest(batches.retries, excluded.retries),
    deferrals = greatest(batches.deferrals, excluded.deferrals),
    durable = true,
    inserted_at = now()
WHERE NOT batches.durable
RETURNING batch
