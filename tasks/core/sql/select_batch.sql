-- The images of one batch: whether an earlier attempt of it was refused them, or found them gone.
SELECT
    pending.image_id,
    pending.generation,
    pending.content_type,
    pending.content_hash,
    pending.kind,
    refusals.image_id IS NOT NULL AS refused,
    objects.image_id IS NULL AS gone
FROM birdwalk.pending
JOIN birdwalk.runs ON runs.run_id = pending.run_id
LEFT JOIN birdwalk.objects
    ON objects.run_id = pending.run_id AND objects.image_id = pending.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $4
    AND refusals.image_id = pending.image_id AND refusals.generation = pending.generation
    AND refusals.refused_at >= runs.started_at
WHERE pending.run_id = $1 AND pending.batch = $2
ORDER BY pending.image_id
