-- Where an image is left for the next run, so are its twins, which wait for its vector.
UPDATE birdwalk.pending AS twin SET error = pending.error
FROM birdwalk.pending
WHERE pending.run_id = $1 AND pending.batch > 0 AND pending.error IS NOT NULL
    AND twin.run_id = $1 AND twin.batch = 0 AND twin.content_hash = pending.content_hash
