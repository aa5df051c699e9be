-- Only the last listing of an index is kept.
DELETE FROM birdwalk.objects
WHERE run_id IN (SELECT run_id FROM birdwalk.runs WHERE index_name = $1)
