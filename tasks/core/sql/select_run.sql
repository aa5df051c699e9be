-- A run that is under way: what it was asked, where its files are, the shards it has given up.
SELECT run_key, options, given_up FROM birdwalk.runs WHERE run_id = $1 AND verdict = 'running'
