-- What batches of a run have sent that are not durable, as far as it was counted.
SELECT batch, refused, gone, pending, calls, answers, retries, deferrals
FROM birdwalk.batches
WHERE run_id = $1 AND NOT durable
