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
