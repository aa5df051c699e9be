-- The vectors that a batch of a run has written.
SELECT stored.image_id, stored.embedding
FROM birdwalk.pending
JOIN {table} AS stored
    ON stored.bucket = $3 AND stored.image_id = pending.image_id
    AND stored.generation = pending.generation
WHERE pending.run_id = $1 AND pending.batch = $2
ORDER BY stored.image_id
