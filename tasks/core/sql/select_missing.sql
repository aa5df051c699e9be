-- Images of the listing, not refused and not left for the next run, whose version has no vector.
SELECT objects.image_id, count(*) OVER () AS total
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
    AND stored.generation = objects.generation
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
LEFT JOIN birdwalk.pending AS left_over
    ON left_over.run_id = $1 AND left_over.image_id = objects.image_id
    AND left_over.error IS NOT NULL
WHERE objects.run_id = $1
    AND stored.image_id IS NULL AND refusals.image_id IS NULL AND left_over.image_id IS NULL
ORDER BY objects.image_id
LIMIT 5
