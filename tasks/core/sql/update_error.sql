-- Leave an image for the next run, and say why.
UPDATE birdwalk.pending SET error = $4
WHERE run_id = $1 AND batch = $2 AND image_id = $3
