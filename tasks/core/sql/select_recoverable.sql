-- The version of each image of a dead run's batch, where the new listing still has it.
SELECT pending.image_id, pending.generation, pending.content_hash
FROM birdwalk.pending
JOIN birdwalk.objects
    ON objects.run_id = $3 AND objects.image_id = pending.image_id
    AND objects.generation = pending.generation
WHERE pending.run_id = $1 AND pending.batch = $2
