-- The buckets and prefixes that a space's rows come from; when each, or what it is a part of, was
-- last listed, and last synced into this space. A sync is known by its last step; a plan keeps
-- nothing of what it listed.
SELECT
    source.bucket,
    source.prefix,
    max(runs.started_at) FILTER (
        WHERE runs.objects > 0 OR runs.verdict = 'completed'
    ) AS listed_at,
    max(runs.finished_at) FILTER (
        WHERE runs.verdict = 'completed' AND runs.seconds ? 'publish'
            AND (runs.model, runs.dimension, runs.preprocessing) = ($2, $3, $4)
    ) AS synced_at
FROM (
    SELECT DISTINCT bucket, prefix FROM birdwalk.runs WHERE index_name = $1
) AS source
JOIN birdwalk.runs
    ON runs.index_name = $1 AND runs.bucket = source.bucket
    AND runs.options ->> 'plan_only' IS DISTINCT FROM 'true'
    AND starts_with(source.prefix, runs.prefix)
WHERE EXISTS (
    SELECT FROM {table} AS stored
    WHERE stored.bucket = source.bucket AND starts_with(stored.image_id, source.prefix)
)
GROUP BY source.bucket, source.prefix
ORDER BY listed_at, source.bucket, source.prefix
