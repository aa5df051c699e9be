-- name: select_first_image
-- The first image of the listed part of the bucket that has a vector.
SELECT stored.image_id
FROM {table} AS stored
JOIN birdwalk.objects ON objects.run_id = $1 AND objects.image_id = stored.image_id
WHERE stored.bucket = $2
ORDER BY stored.image_id
LIMIT 1

-- name: count_scope
-- Rows of the listed images; the images expected to have one: listed and not refused, nor left for
-- the next run without an older one; how many have none, or one of another version, and are not
-- left; and all that are left.
SELECT
    count(stored.image_id) AS rows,
    count(*) FILTER (
        WHERE refusals.image_id IS NULL
            AND (left_over.image_id IS NULL OR stored.image_id IS NOT NULL)
    ) AS expected,
    count(*) FILTER (
        WHERE refusals.image_id IS NULL AND left_over.image_id IS NULL
            AND stored.generation IS DISTINCT FROM objects.generation
    ) AS missing,
    count(left_over.image_id) AS left_over
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
LEFT JOIN birdwalk.pending AS left_over
    ON left_over.run_id = $1 AND left_over.image_id = objects.image_id
    AND left_over.error IS NOT NULL
WHERE objects.run_id = $1

-- name: select_missing
-- Images of the listing, not refused and not left for the next run, whose version has no vector.
SELECT objects.image_id, count(*) OVER () AS total
FROM birdwalk.objects
LEFT JOIN {table} AS stored
    ON stored.bucket = $2 AND stored.image_id = objects.image_id
    AND stored.generation = objects.generation
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $3 AND refusals.bucket = $2
    AND refusals.image_id = objects.image_id AND refusals.generation = objects.generation
LEFT JOIN birdwalk.pending AS left_over
    ON left_over.run_id = $1 AND left_over.image_id = objects.image_id
    AND left_over.error IS NOT NULL
WHERE objects.run_id = $1
    AND stored.image_id IS NULL AND refusals.image_id IS NULL AND left_over.image_id IS NULL
ORDER BY objects.image_id
LIMIT 5

-- name: select_bad_new_vectors
-- The same, of the rows that this run was to write.
SELECT stored.image_id, count(*) OVER () AS total
FROM birdwalk.pending
JOIN {table} AS stored
    ON stored.bucket = $1 AND stored.image_id = pending.image_id
WHERE pending.run_id = $3
    AND (abs(vector_norm(stored.embedding) - 1) > 0.001 OR vector_dims(stored.embedding) <> $2)
ORDER BY stored.image_id
LIMIT 5

-- name: select_bad_vectors
-- Rows of a bucket whose vector is not of norm 1 or not of the space's dimension.
SELECT stored.image_id, count(*) OVER () AS total
FROM {table} AS stored
WHERE stored.bucket = $1
    AND (abs(vector_norm(stored.embedding) - 1) > 0.001 OR vector_dims(stored.embedding) <> $2)
ORDER BY stored.image_id
LIMIT 5
