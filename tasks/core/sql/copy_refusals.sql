-- What was refused under one name is refused under every name of the same content.
INSERT INTO birdwalk.refusals (space_id, bucket, image_id, generation, reason)
SELECT DISTINCT ON (twin.image_id)
    $3, $2, twin.image_id, twin.generation, refusals.reason
FROM birdwalk.pending
JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = pending.image_id AND refusals.generation = pending.generation
JOIN birdwalk.objects AS twin
    ON twin.run_id = $1 AND twin.content_hash = pending.content_hash
    AND twin.image_id <> pending.image_id
WHERE pending.run_id = $1 AND pending.batch > 0 AND starts_with(pending.content_hash, 'md5:')
ORDER BY twin.image_id
ON CONFLICT (space_id, bucket, image_id) DO UPDATE SET
    generation = excluded.generation,
    reason = excluded.reason,
    attempts = 1,
    refused_at = now()
