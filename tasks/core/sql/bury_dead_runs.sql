-- A run that holds no index any more and never ended was killed.
UPDATE birdwalk.runs SET verdict = 'failed', message = 'killed', finished_at = now()
WHERE index_name = $1 AND run_id <> $2 AND verdict = 'running'
RETURNING run_id, model
