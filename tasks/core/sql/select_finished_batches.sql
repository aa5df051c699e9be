-- The batches of a run that are durable.
SELECT batch FROM birdwalk.batches WHERE run_id = $1 AND durable
