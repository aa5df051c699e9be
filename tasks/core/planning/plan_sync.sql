-- name: create_diff
-- How the listing differs from what readers would see in the space: one row an image that is not as
-- it was.
CREATE TEMPORARY TABLE diff (
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_key text COLLATE "C" NOT NULL,
    content_type text,
    kind text NOT NULL
) ON COMMIT DROP

-- name: fill_diff
-- Compare the listing with the index by version, and its contents with what the space holds and what
-- it was refused.
INSERT INTO diff (image_id, generation, content_key, content_type, kind)
SELECT
    listed.image_id,
    listed.generation,
    listed.content_key,
    listed.content_type,
    CASE
        WHEN refusals.content_key IS NOT NULL THEN 'refused before'
        WHEN own.content_key IS NOT NULL AND indexed.content_key = listed.content_key THEN 'rewritten'
        WHEN own.content_key IS NOT NULL THEN 'moved or copied'
        WHEN EXISTS (
            SELECT FROM {vectors} AS shown WHERE shown.content_key = indexed.content_key
        ) THEN 'changed'
        ELSE 'new'
    END
FROM birdwalk.listings AS listed
LEFT JOIN {images} AS indexed ON indexed.bucket = $2 AND indexed.image_id = listed.image_id
LEFT JOIN {vectors} AS own ON own.content_key = listed.content_key
LEFT JOIN birdwalk.refusals
    ON NOT $4 AND refusals.space_id = $3 AND refusals.content_key = listed.content_key
WHERE listed.run_id = $1
    AND (own.content_key IS NULL OR indexed.generation IS DISTINCT FROM listed.generation)

-- name: create_known
-- Contents that need no call, though the space does not have them: vectors that a dead run had paid
-- for, and those of spaces of the same kind.
CREATE TEMPORARY TABLE known (
    content_key text COLLATE "C" PRIMARY KEY,
    space_id bigint
) ON COMMIT DROP

-- name: insert_recoverable
-- Contents that a dead run had paid for.
INSERT INTO known (content_key)
SELECT DISTINCT content_key FROM unnest($1::text[]) AS paid (content_key)
WHERE content_key IN (SELECT content_key FROM diff WHERE kind IN ('new', 'changed'))

-- name: insert_elsewhere
-- Contents that another index's space of the same model, dimension and preprocessing holds.
INSERT INTO known (content_key, space_id)
SELECT other.content_key, $1
FROM {other} AS other
WHERE other.content_key IN (SELECT content_key FROM diff WHERE kind IN ('new', 'changed'))
ON CONFLICT DO NOTHING

-- name: take_over_refusals
-- What another space of the same kind was refused, this one would be too.
INSERT INTO birdwalk.refusals (space_id, content_key, reason, attempts, last_refused)
SELECT $1, other.content_key, other.reason, other.attempts, other.last_refused
FROM birdwalk.refusals AS other
WHERE other.space_id = $2
    AND other.content_key IN (SELECT content_key FROM diff WHERE kind IN ('new', 'changed'))
ON CONFLICT DO NOTHING

-- name: mark_refused_elsewhere
-- Images whose content another space of the same kind was refused.
UPDATE diff SET kind = 'refused before'
FROM birdwalk.refusals AS other
WHERE other.space_id = $1 AND other.content_key = diff.content_key
    AND diff.kind IN ('new', 'changed')

-- name: mark_known
-- Images whose content needs no call.
UPDATE diff SET kind = 'moved or copied'
FROM known
WHERE known.content_key = diff.content_key AND diff.kind IN ('new', 'changed')

-- name: mark_copies
-- Of several images with one content that has no vector yet, the first is asked for.
UPDATE diff SET kind = 'moved or copied'
FROM (
    SELECT content_key, min(image_id) AS first
    FROM diff
    WHERE kind IN ('new', 'changed')
    GROUP BY content_key
    HAVING count(*) > 1
) AS copies
WHERE diff.content_key = copies.content_key
    AND diff.image_id <> copies.first
    AND diff.kind IN ('new', 'changed')

-- name: count_diff
-- Images by what must be done about them.
SELECT kind, count(*) AS images FROM diff GROUP BY kind

-- name: select_diff_examples
-- A few images of one kind.
SELECT image_id FROM diff WHERE kind = $1 ORDER BY image_id LIMIT 3

-- name: count_elsewhere
-- Contents that another space has.
SELECT count(*) FROM known WHERE space_id IS NOT NULL

-- name: count_gone
-- Images of the listed part of the bucket that readers would see, and how many of them are not
-- listed any more.
SELECT count(*) AS indexed, count(*) FILTER (WHERE listed.image_id IS NULL) AS gone
FROM {images} AS indexed
JOIN {vectors} AS known USING (content_key)
LEFT JOIN birdwalk.listings AS listed
    ON listed.run_id = $1 AND listed.image_id = indexed.image_id
WHERE indexed.bucket = $2 AND starts_with(indexed.image_id, $3)

-- name: select_gone
-- A few images that are not listed any more.
SELECT indexed.image_id
FROM {images} AS indexed
JOIN {vectors} AS known USING (content_key)
LEFT JOIN birdwalk.listings AS listed
    ON listed.run_id = $1 AND listed.image_id = indexed.image_id
WHERE indexed.bucket = $2 AND starts_with(indexed.image_id, $3) AND listed.image_id IS NULL
ORDER BY indexed.image_id
LIMIT 3

-- name: select_is_listed
-- Whether an image is in a run's listing.
SELECT EXISTS (SELECT FROM birdwalk.listings WHERE run_id = $1 AND image_id = $2)

-- name: delete_old_work
-- The work lists of earlier runs of a space, and of this one's earlier attempt at its plan.
DELETE FROM birdwalk.work
WHERE run_id = $1 OR run_id IN (
    SELECT runs.run_id FROM birdwalk.runs
    WHERE (runs.index_name, runs.model, runs.dimension, runs.preprocessing) = ($2, $3, $4, $5)
        AND runs.verdict <> 'running'
)

-- name: delete_batches
-- Those of this run's earlier attempt at its plan.
DELETE FROM birdwalk.batches WHERE run_id = $1

-- name: insert_work
-- Cut what must be embedded into batches of $2 contents, in the order of their names.
INSERT INTO birdwalk.work (run_id, batch, content_key, image_id, generation, content_type)
SELECT
    $1,
    (row_number() OVER (ORDER BY image_id) - 1) / $2::integer + 1,
    content_key,
    image_id,
    generation,
    content_type
FROM diff
WHERE kind IN ('new', 'changed')

-- name: insert_batches
-- A row a batch, for whoever claims it.
INSERT INTO birdwalk.batches (run_id, batch, images)
SELECT run_id, batch, count(*) FROM birdwalk.work WHERE run_id = $1 GROUP BY run_id, batch

-- name: take_over
-- Vectors of the listed contents that another space has and this one lacks, without a call.
INSERT INTO {vectors} (content_key, embedding)
SELECT other.content_key, other.embedding
FROM {other} AS other
WHERE other.content_key IN (
    SELECT listings.content_key
    FROM birdwalk.listings
    LEFT JOIN {vectors} AS own USING (content_key)
    WHERE listings.run_id = $1 AND own.content_key IS NULL
)
ON CONFLICT DO NOTHING

-- name: delete_answered_refusals
-- A content that was taken over is refused no longer.
DELETE FROM birdwalk.refusals
USING {vectors} AS vectors
WHERE refusals.space_id = $1 AND vectors.content_key = refusals.content_key

-- name: update_run_taken_over
-- Vectors that a run took over from other spaces.
UPDATE birdwalk.runs SET taken_over = $2 WHERE run_id = $1

-- name: analyze_work
-- What the planner must know of the work lists that were just written.
ANALYZE birdwalk.work (run_id, batch, content_key, image_id)
