-- What the listing found.
UPDATE birdwalk.runs SET objects = $2, listed = $3, skipped = $4 WHERE run_id = $1
