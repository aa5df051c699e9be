-- Let a shard of a run do no more: from now on its batches are the run's own.
UPDATE birdwalk.runs SET given_up = array_append(array_remove(given_up, $2), $2) WHERE run_id = $1
