-- Images that a completed sync of a space left for the next one, and whose version is still missing
-- there. Of a sync into another space, or of one that failed, none count.
SELECT count(DISTINCT objects.image_id)
FROM birdwalk.runs
JOIN birdwalk.spaces USING (index_name, model, dimension, preprocessing)
JOIN birdwalk.objects USING (run_id)
JOIN birdwalk.pending USING (run_id, image_id, generation)
LEFT JOIN {table} AS stored
    ON stored.bucket = runs.bucket AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $2 AND refusals.bucket = runs.bucket
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE runs.run_id = $1 AND runs.verdict = 'completed' AND spaces.space_id = $2
    AND pending.error IS NOT NULL
    AND refusals.image_id IS NULL
    AND stored.generation IS DISTINCT FROM objects.generation
