-- Images that a run leaves for the next one.
SELECT count(*) FROM birdwalk.pending WHERE run_id = $1 AND error IS NOT NULL
