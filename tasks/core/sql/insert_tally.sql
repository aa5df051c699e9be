-- What a batch had sent whose run ended before it was durable.
INSERT INTO birdwalk.batches
    (run_id, batch, images, embedded, recovered, refused, gone, pending,
     calls, answers, retries, deferrals, durable)
VALUES ($1, $2, 0, 0, 0, $3, $4, $5, $6, $7, $8, $9, false)
ON CONFLICT (run_id, batch) DO NOTHING
