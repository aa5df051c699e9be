-- What a run did without calls.
SELECT recovered, reused, removed FROM birdwalk.runs WHERE run_id = $1
