-- name: select_recoverable
-- The version of each image of a dead run's batch that the new listing still has, and that has no
-- vector yet. That the listing has it after the call shows that the call was answered for it: no
-- generation comes back once it was overwritten.
SELECT pending.image_id, pending.generation, pending.content_hash
FROM birdwalk.pending
JOIN birdwalk.objects
    ON objects.run_id = $3 AND objects.image_id = pending.image_id
    AND objects.generation = pending.generation
LEFT JOIN {table} AS stored
    ON stored.bucket = $4 AND stored.image_id = pending.image_id
    AND stored.generation = pending.generation
WHERE pending.run_id = $1 AND pending.batch = $2 AND stored.image_id IS NULL

-- name: drop_expected
-- What an earlier attempt at a plan left in its transaction.
DROP TABLE IF EXISTS pg_temp.diff, pg_temp.recovered

-- name: create_recovered
-- The images whose vectors a run would recover from the parts of dead runs.
CREATE TEMPORARY TABLE recovered (
    image_id text COLLATE "C" PRIMARY KEY,
    generation bigint NOT NULL,
    content_hash text
) ON COMMIT DROP

-- name: insert_recovered
-- Rows that a run would load; two dead runs may both have paid for an image.
INSERT INTO recovered (image_id, generation, content_hash)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
ON CONFLICT (image_id) DO NOTHING

-- name: delete_recovered
-- What would be recovered is as it was by the time of the comparison.
DELETE FROM diff
USING recovered
WHERE diff.image_id = recovered.image_id AND diff.generation = recovered.generation

-- name: mark_recovered_content
-- Content whose vector would be recovered needs no call under another name either.
UPDATE diff SET kind = 'duplicate'
FROM recovered
WHERE recovered.content_hash = diff.content_hash
    AND starts_with(diff.content_hash, 'md5:')
    AND diff.kind IN ('new', 'changed')
