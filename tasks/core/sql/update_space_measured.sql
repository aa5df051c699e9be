-- What the gate measured, and of which state.
UPDATE birdwalk.spaces
SET recall = $2, ef_search = $3, measured_at = now(), measured_writes = $4, measured_index = $5
WHERE space_id = $1
