-- name: select_newer_publication
-- A run that has published a listing of the same part of the bucket, or of one that overlaps it, and
-- that began after this run's listing.
SELECT newer.run_id
FROM birdwalk.runs
JOIN birdwalk.runs AS newer
    ON newer.index_name = runs.index_name AND newer.bucket = runs.bucket
    AND newer.published_at IS NOT NULL AND newer.listed_at > runs.listed_at
    AND (starts_with(newer.prefix, runs.prefix) OR starts_with(runs.prefix, newer.prefix))
WHERE runs.run_id = $1
ORDER BY newer.run_id DESC
LIMIT 1

-- name: merge_listing
-- Make the index's images what the listing says, where that is something else: those whose content
-- has an answer in the space. One that is left for the next run keeps what it has. (MERGE came with
-- Postgres 15.)
INSERT INTO {images} AS indexed (
    bucket, image_id, generation, content_key, size, content_type, content_encoding, updated, metadata
)
SELECT
    $2,
    listed.image_id,
    listed.generation,
    listed.content_key,
    listed.size,
    listed.content_type,
    listed.content_encoding,
    listed.updated,
    listed.metadata
FROM birdwalk.listings AS listed
LEFT JOIN {images} AS before ON before.bucket = $2 AND before.image_id = listed.image_id
LEFT JOIN {vectors} AS vectors ON vectors.content_key = listed.content_key
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.content_key = listed.content_key
WHERE listed.run_id = $1
    AND (vectors.content_key IS NOT NULL OR refusals.content_key IS NOT NULL)
    AND (
        before.image_id IS NULL
        OR (
            before.generation, before.content_key, before.size, before.content_type,
            before.content_encoding, before.updated, before.metadata
        ) IS DISTINCT FROM (
            listed.generation, listed.content_key, listed.size, listed.content_type,
            listed.content_encoding, listed.updated, listed.metadata
        )
    )
ON CONFLICT (bucket, image_id) DO UPDATE SET
    generation = excluded.generation,
    content_key = excluded.content_key,
    size = excluded.size,
    content_type = excluded.content_type,
    content_encoding = excluded.content_encoding,
    updated = excluded.updated,
    metadata = excluded.metadata

-- name: delete_gone
-- Images of the listed part of the bucket that are not listed any more leave the index; how many of
-- them readers see, in {vectors}.
WITH gone AS (
    DELETE FROM {images} AS indexed
    WHERE indexed.bucket = $2 AND starts_with(indexed.image_id, $3)
        AND NOT EXISTS (
            SELECT FROM birdwalk.listings AS listed
            WHERE listed.run_id = $1 AND listed.image_id = indexed.image_id
        )
    RETURNING indexed.content_key
)
SELECT count(vectors.content_key)
FROM gone
LEFT JOIN {vectors} AS vectors USING (content_key)

-- name: update_run_published
-- What readers see from this transaction on is this run's.
UPDATE birdwalk.runs SET
    published_at = now(), changed = changed + $2, removed = removed + $3
WHERE run_id = $1

-- name: vacuum_images
-- The planner needs to know the table it has now, and index-only scans what is visible to all.
VACUUM (ANALYZE) {images} (bucket, image_id, generation, content_key, updated)
