-- A run that is under way: what it was asked, and where its files are.
SELECT run_key, options FROM birdwalk.runs WHERE run_id = $1 AND verdict = 'running'
