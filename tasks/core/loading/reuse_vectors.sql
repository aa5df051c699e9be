-- name: delete_answered_refusals
-- An image whose refused version, or a later one, has a vector now is refused no longer.
DELETE FROM birdwalk.refusals
USING {table} AS stored
WHERE refusals.space_id = $1 AND refusals.bucket = $2
    AND stored.bucket = $2 AND stored.image_id = refusals.image_id
    AND stored.generation >= refusals.generation

-- name: touch_rows
-- Images that were written again with the same content keep their vectors.
UPDATE {table} AS stored SET generation = objects.generation
FROM birdwalk.objects
WHERE objects.run_id = $1 AND stored.bucket = $2 AND stored.image_id = objects.image_id
    AND stored.generation <> objects.generation
    AND stored.content_hash = objects.content_hash
    AND starts_with(objects.content_hash, 'md5:')

-- name: copy_refusals
-- What was refused under one name is refused under every name of the same content.
INSERT INTO birdwalk.refusals (space_id, bucket, image_id, generation, reason)
SELECT DISTINCT ON (twin.image_id)
    $3, $2, twin.image_id, twin.generation, refusals.reason
FROM birdwalk.pending
JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = pending.image_id AND refusals.generation = pending.generation
JOIN birdwalk.objects AS twin
    ON twin.run_id = $1 AND twin.content_hash = pending.content_hash
    AND twin.image_id <> pending.image_id
WHERE pending.run_id = $1 AND pending.batch > 0 AND starts_with(pending.content_hash, 'md5:')
ORDER BY twin.image_id
ON CONFLICT (space_id, bucket, image_id) DO UPDATE SET
    generation = excluded.generation,
    reason = excluded.reason,
    attempts = 1,
    refused_at = now()

-- name: copy_errors
-- Where an image is left for the next run, so are its twins, which wait for its vector.
UPDATE birdwalk.pending AS twin SET error = pending.error
FROM birdwalk.pending
WHERE pending.run_id = $1 AND pending.batch > 0 AND pending.error IS NOT NULL
    AND twin.run_id = $1 AND twin.batch = 0 AND twin.content_hash = pending.content_hash

-- name: create_copies
-- Which rows are to be made of which: images without a vector, and where their content has one.
CREATE TEMPORARY TABLE copies (
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_hash text NOT NULL,
    donor_bucket text NOT NULL,
    donor_image_id text COLLATE "C" NOT NULL
) ON COMMIT DROP

-- name: fill_copies
-- Find images whose content the space has under another name: all of it is in the key's index, so
-- that no vector is read.
WITH missing AS MATERIALIZED (
    SELECT objects.image_id, objects.generation, objects.content_hash
    FROM birdwalk.objects
    LEFT JOIN {table} AS stored
        ON stored.bucket = $2 AND stored.image_id = objects.image_id
        AND stored.generation = objects.generation
    WHERE objects.run_id = $1 AND stored.image_id IS NULL
        AND starts_with(objects.content_hash, 'md5:')
),
donors AS MATERIALIZED (
    SELECT DISTINCT ON (content_hash) content_hash, bucket, image_id
    FROM {table}
    WHERE content_hash IN (SELECT content_hash FROM missing)
    ORDER BY content_hash
)
INSERT INTO copies (image_id, generation, content_hash, donor_bucket, donor_image_id)
SELECT missing.image_id, missing.generation, missing.content_hash, donors.bucket, donors.image_id
FROM missing
JOIN donors USING (content_hash)

-- name: copy_duplicates
-- Give images the vector of their content.
INSERT INTO {table} AS stored (bucket, image_id, embedding, generation, content_hash)
SELECT $1, copies.image_id, donor.embedding, copies.generation, copies.content_hash
FROM copies
JOIN {table} AS donor
    ON donor.bucket = copies.donor_bucket AND donor.image_id = copies.donor_image_id
ON CONFLICT (bucket, image_id) DO UPDATE SET
    embedding = excluded.embedding,
    generation = excluded.generation,
    content_hash = excluded.content_hash,
    embedded_at = now()

-- name: delete_refused_rows
-- A refused version replaced the one whose vector we hold: that vector is of nothing any more.
DELETE FROM {table} AS stored
USING birdwalk.refusals
WHERE refusals.space_id = $1 AND refusals.bucket = $2
    AND stored.bucket = $2 AND stored.image_id = refusals.image_id
    AND stored.generation < refusals.generation

-- name: delete_gone_rows
-- Images that left the bucket leave the index.
DELETE FROM {table} AS stored
WHERE stored.bucket = $2 AND starts_with(stored.image_id, $3)
    AND NOT EXISTS (
        SELECT FROM birdwalk.objects
        WHERE objects.run_id = $1 AND objects.image_id = stored.image_id
    )

-- name: delete_gone_refusals
-- So do their refusals.
DELETE FROM birdwalk.refusals
WHERE space_id = $4 AND bucket = $2 AND starts_with(image_id, $3)
    AND NOT EXISTS (
        SELECT FROM birdwalk.objects
        WHERE objects.run_id = $1 AND objects.image_id = refusals.image_id
    )
