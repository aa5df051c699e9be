-- name: delete_old_pending
-- The work lists of an index's earlier runs are of no use, but where their parts wait for recovery;
-- neither is this run's own of an earlier attempt at its plan.
DELETE FROM birdwalk.pending
WHERE run_id IN (SELECT run_id FROM birdwalk.runs WHERE index_name = $1)
    AND (run_id = $2 OR run_id <> ALL ($3::bigint[]))

-- name: insert_pending
-- Cut what must be embedded into batches of $2 images, in the order of their names.
INSERT INTO birdwalk.pending
    (run_id, batch, image_id, generation, content_type, content_hash, kind)
SELECT
    $1,
    (row_number() OVER (ORDER BY image_id) - 1) / $2::integer + 1,
    image_id,
    generation,
    content_type,
    content_hash,
    kind
FROM diff
WHERE kind IN ('new', 'changed')

-- name: insert_twins
-- Let the twins of the images to be embedded wait in batch 0.
INSERT INTO birdwalk.pending
    (run_id, batch, image_id, generation, content_type, content_hash, kind)
SELECT $1, 0, image_id, generation, content_type, content_hash, kind_as_twin
FROM diff
WHERE kind_as_twin IS NOT NULL

-- name: analyze_pending
-- What the planner must know of the work lists that were just written.
ANALYZE birdwalk.pending (run_id, batch, image_id, generation, content_hash)

-- name: create_diff
-- How the listing differs from the space's table: one row an image that is not as it was.
-- A twin of an image to be embedded is a duplicate now; its own kind is what it would be without.
CREATE TEMPORARY TABLE diff (
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    kind text NOT NULL,
    kind_as_twin text
) ON COMMIT DROP

-- name: fill_diff
-- Compare the listing with the table: by generation, then by content.
INSERT INTO diff (image_id, generation, content_type, content_hash, kind)
SELECT
    objects.image_id,
    objects.generation,
    objects.content_type,
    objects.content_hash,
    CASE
        WHEN refusals.image_id IS NOT NULL THEN 'refused before'
        WHEN stored.image_id IS NULL THEN 'new'
        WHEN stored.content_hash = objects.content_hash AND starts_with(objects.content_hash, 'md5:')
            THEN 'touched'
        ELSE 'changed'
    END
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON NOT $4 AND refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
WHERE objects.run_id = $1
    AND (stored.image_id IS NULL OR stored.generation <> objects.generation)

-- name: mark_known_content
-- Content whose vector the space has already, under any name and bucket, needs no call.
-- Only md5 tells content apart well enough: crc32c and size are 32 bits and a length.
-- Apart from the UPDATE, since that would read the rows themselves and not only their key's index.
WITH known AS MATERIALIZED (
    SELECT DISTINCT content_hash
    FROM {table}
    WHERE content_hash IN (
        SELECT content_hash FROM diff
        WHERE kind IN ('new', 'changed') AND starts_with(content_hash, 'md5:')
    )
)
UPDATE diff SET kind = 'duplicate'
FROM known
WHERE known.content_hash = diff.content_hash AND diff.kind IN ('new', 'changed')

-- name: mark_twins
-- Of several images with the same content that nobody has embedded yet, the first is.
UPDATE diff SET kind = 'duplicate', kind_as_twin = kind
FROM (
    SELECT content_hash, min(image_id) AS first
    FROM diff
    WHERE kind IN ('new', 'changed') AND starts_with(content_hash, 'md5:')
    GROUP BY content_hash
    HAVING count(*) > 1
) AS twins
WHERE diff.content_hash = twins.content_hash
    AND diff.image_id <> twins.first
    AND diff.kind IN ('new', 'changed')

-- name: count_diff
-- Images by what must be done about them.
SELECT kind, count(*) AS images FROM diff GROUP BY kind

-- name: select_diff_examples
-- A few images of one kind.
SELECT image_id FROM diff WHERE kind = $1 ORDER BY image_id LIMIT 3

-- name: count_gone
-- Rows of the listed part of the bucket, and how many of their images are not listed any more.
SELECT
    count(*) AS rows,
    count(*) FILTER (WHERE objects.image_id IS NULL) AS gone
FROM {table} AS stored
LEFT JOIN birdwalk.objects
    ON objects.run_id = $1 AND objects.image_id = stored.image_id
WHERE stored.bucket = $2 AND starts_with(stored.image_id, $3)

-- name: select_is_listed
-- Whether an image is in a run's listing.
SELECT EXISTS (SELECT FROM birdwalk.objects WHERE run_id = $1 AND image_id = $2)
