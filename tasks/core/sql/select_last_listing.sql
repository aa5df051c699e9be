-- The run whose listing of the bucket is the index's last.
SELECT runs.run_id, runs.bucket, runs.options ->> 'limit' IS NULL AS whole
FROM birdwalk.runs
WHERE runs.index_name = $1
    AND EXISTS (SELECT FROM birdwalk.objects WHERE objects.run_id = runs.run_id)
ORDER BY runs.run_id DESC
LIMIT 1
