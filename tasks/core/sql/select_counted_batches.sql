-- The batches of a run that the ledger has, durable or not.
SELECT batch FROM birdwalk.batches WHERE run_id = $1
