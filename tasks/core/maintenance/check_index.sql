-- name: select_sizes
-- What a table and its indexes take on disk, and the rows in it that nobody sees any more.
SELECT
    pg_table_size(oid) AS table_bytes,
    pg_indexes_size(oid) AS index_bytes,
    pg_stat_get_dead_tuples(oid) AS dead_rows
FROM pg_class
WHERE oid = $1::text::regclass

-- name: select_sources
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

-- name: count_left
-- Images that a completed sync of a space left for the next one, and whose version is still missing
-- there. Of a sync into another space, or of one that failed, none count.
SELECT count(DISTINCT objects.image_id)
FROM birdwalk.runs
JOIN birdwalk.spaces USING (index_name, model, dimension, preprocessing)
JOIN birdwalk.objects USING (run_id)
JOIN birdwalk.pending USING (run_id, image_id, generation)
LEFT JOIN {table} AS stored
    ON stored.bucket = runs.bucket AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $2 AND refusals.bucket = runs.bucket
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE runs.run_id = $1 AND runs.verdict = 'completed' AND spaces.space_id = $2
    AND pending.error IS NOT NULL
    AND refusals.image_id IS NULL
    AND stored.generation IS DISTINCT FROM objects.generation
