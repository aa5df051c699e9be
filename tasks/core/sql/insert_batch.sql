-- A batch is durable; written once, so that a repeated insert counts nothing twice.
INSERT INTO birdwalk.batches
    (run_id, batch, images, embedded, recovered, refused, gone, pending,
     calls, answers, retries, deferrals)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (run_id, batch) DO NOTHING
RETURNING batch
