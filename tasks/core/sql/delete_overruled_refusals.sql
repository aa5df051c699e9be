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
