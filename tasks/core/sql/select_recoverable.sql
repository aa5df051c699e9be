-- The version of each image of a dead run's batch that the new listing still has, and that has no
-- vector yet. That the listing has it after the call shows that the call was answered for it: no
-- generation comes back once it was overwritten.
SELECT pending.image_id, pending.generation, pending.content_hash
FROM birdwalk.pending
JOIN birdwalk.objects
    ON objects.run_id = $3 AND objects.image_id = pending.image_id
    AND objects.generation = pending.generation
LEFT JOIN {table} AS stored
    ON stored.bucket = $4 AND stored.image_id = pending.image_id
    AND stored.generation = pending.generation
WHERE pending.run_id = $1 AND pending.batch = $2 AND stored.image_id IS NULL
