-- name: insert_unused
-- Contents of a space that no image of its index has, from now on.
INSERT INTO birdwalk.unused_contents (space_id, content_key)
SELECT $1, vectors.content_key
FROM {vectors} AS vectors
WHERE NOT EXISTS (SELECT FROM {images} AS images WHERE images.content_key = vectors.content_key)
    AND NOT EXISTS (
        SELECT FROM birdwalk.unused_contents AS unused
        WHERE unused.space_id = $1 AND unused.content_key = vectors.content_key
    )

-- name: delete_used_again
-- Contents that an image has again.
DELETE FROM birdwalk.unused_contents AS unused
USING {images} AS images
WHERE unused.space_id = $1 AND images.content_key = unused.content_key

-- name: delete_unused_vectors
-- Vectors of contents that no image has had for so many days.
WITH unused AS (
    DELETE FROM birdwalk.unused_contents
    WHERE space_id = $1 AND since < now() - make_interval(days => $2)
    RETURNING content_key
)
DELETE FROM {vectors} AS vectors
USING unused
WHERE vectors.content_key = unused.content_key

-- name: delete_unused_refusals
-- Refusals of contents that no image has, of so many days ago.
DELETE FROM birdwalk.refusals
WHERE space_id = $1 AND last_refused < now() - make_interval(days => $2)
    AND NOT EXISTS (SELECT FROM {images} AS images WHERE images.content_key = refusals.content_key)

-- name: select_earlier_runs
-- The runs of an index that are over, the last first, and whether a run of their space may still
-- load what they had paid for.
SELECT
    runs.run_id,
    runs.run_key,
    EXISTS (
        SELECT FROM birdwalk.batches
        WHERE batches.run_id = runs.run_id AND NOT batches.durable
    ) AND EXISTS (
        SELECT FROM birdwalk.work WHERE work.run_id = runs.run_id
    ) AS waits
FROM birdwalk.runs
WHERE runs.index_name = $1 AND runs.run_id <> $2 AND runs.verdict <> 'running'
ORDER BY runs.run_id DESC
