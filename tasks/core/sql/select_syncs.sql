-- When each part of a bucket was last synced into an index, the latest first. A sync is known by its
-- last step.
SELECT bucket, prefix, max(finished_at) AS synced_at
FROM birdwalk.runs
WHERE index_name = $1 AND verdict = 'completed' AND seconds ? 'publish'
GROUP BY bucket, prefix
ORDER BY synced_at DESC, bucket, prefix
