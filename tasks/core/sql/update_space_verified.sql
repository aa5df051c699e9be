-- What the gate found.
UPDATE birdwalk.spaces
SET rows = $2, recall = $3, verified_at = now(),
    status = CASE WHEN $4 OR status = 'active' OR status = 'retired' THEN status ELSE 'failed' END
WHERE space_id = $1
