-- What is tried again is not left.
UPDATE birdwalk.pending SET error = NULL
WHERE run_id = $1 AND batch = $2 AND error IS NOT NULL
