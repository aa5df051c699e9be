-- Close a run.
UPDATE birdwalk.runs SET finished_at = now(), seconds = $2, verdict = $3, message = $4
WHERE run_id = $1
