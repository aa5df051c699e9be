-- A refused version replaced the one whose vector we hold: that vector is of nothing any more.
DELETE FROM {table} AS stored
USING birdwalk.refusals
WHERE refusals.space_id = $1 AND refusals.bucket = $2
    AND stored.bucket = $2 AND stored.image_id = refusals.image_id
    AND stored.generation < refusals.generation
