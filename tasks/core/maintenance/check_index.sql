-- name: select_size
-- What a table and its indexes take on disk, and the rows in it that nobody sees any more.
SELECT
    pg_table_size(oid) AS table_bytes,
    pg_indexes_size(oid) AS index_bytes,
    pg_stat_get_dead_tuples(oid) AS dead_rows
FROM pg_class
WHERE oid = $1::text::regclass

-- name: select_sources
-- The buckets and prefixes that an index's images come from, and when each, or what it is a part of,
-- was last listed and last published. A plan is neither.
SELECT
    source.bucket,
    source.prefix,
    max(runs.listed_at) AS listed_at,
    max(runs.published_at) AS published_at
FROM (
    SELECT DISTINCT bucket, prefix FROM birdwalk.runs WHERE index_name = $1 AND NOT plan_only
) AS source
JOIN birdwalk.runs
    ON runs.index_name = $1 AND runs.bucket = source.bucket
    AND starts_with(source.prefix, runs.prefix) AND NOT runs.plan_only
WHERE EXISTS (
    SELECT FROM {images} AS images
    WHERE images.bucket = source.bucket AND starts_with(images.image_id, source.prefix)
)
GROUP BY source.bucket, source.prefix
ORDER BY listed_at NULLS FIRST, source.bucket, source.prefix
