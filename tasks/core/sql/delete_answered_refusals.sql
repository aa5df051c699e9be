-- An image whose refused version, or a later one, has a vector now is refused no longer.
DELETE FROM birdwalk.refusals
USING {table} AS stored
WHERE refusals.space_id = $1 AND refusals.bucket = $2
    AND stored.bucket = $2 AND stored.image_id = refusals.image_id
    AND stored.generation >= refusals.generation
