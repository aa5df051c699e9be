-- name: count_listed
-- The listed images by what readers would see of them: those with a vector, those that were refused,
-- those that are left for the next run; and those with none of that, which must not be.
SELECT
    count(*) AS listed,
    count(vectors.content_key) AS shown,
    count(*) FILTER (
        WHERE vectors.content_key IS NULL AND refusals.content_key IS NOT NULL
    ) AS refused,
    count(*) FILTER (
        WHERE vectors.content_key IS NULL AND refusals.content_key IS NULL
            AND leftover.content_key IS NOT NULL
    ) AS leftover,
    count(*) FILTER (
        WHERE vectors.content_key IS NULL AND refusals.content_key IS NULL
            AND leftover.content_key IS NULL
    ) AS missing
FROM birdwalk.listings AS listed
LEFT JOIN {vectors} AS vectors USING (content_key)
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $2 AND refusals.content_key = listed.content_key
LEFT JOIN birdwalk.work AS leftover
    ON leftover.run_id = $1 AND leftover.content_key = listed.content_key
    AND leftover.error IS NOT NULL
WHERE listed.run_id = $1

-- name: select_missing
-- A few listed images that have no vector, and no reason for it.
SELECT listed.image_id
FROM birdwalk.listings AS listed
LEFT JOIN {vectors} AS vectors USING (content_key)
LEFT JOIN birdwalk.refusals
    ON refusals.space_id = $2 AND refusals.content_key = listed.content_key
LEFT JOIN birdwalk.work AS leftover
    ON leftover.run_id = $1 AND leftover.content_key = listed.content_key
    AND leftover.error IS NOT NULL
WHERE listed.run_id = $1
    AND vectors.content_key IS NULL AND refusals.content_key IS NULL
    AND leftover.content_key IS NULL
ORDER BY listed.image_id
LIMIT 5

-- name: select_bad_vectors
-- Listed images whose vector is not of norm 1 or not of the space's dimension.
SELECT listed.image_id, count(*) OVER () AS total
FROM birdwalk.listings AS listed
JOIN {vectors} AS vectors USING (content_key)
WHERE listed.run_id = $1
    AND (abs(vector_norm(vectors.embedding) - 1) > 0.001 OR vector_dims(vectors.embedding) <> $2)
ORDER BY listed.image_id
LIMIT 5

-- name: select_bad_new_vectors
-- The same, of the contents that this run asked for.
SELECT work.image_id, count(*) OVER () AS total
FROM birdwalk.work
JOIN {vectors} AS vectors USING (content_key)
WHERE work.run_id = $1
    AND (abs(vector_norm(vectors.embedding) - 1) > 0.001 OR vector_dims(vectors.embedding) <> $2)
ORDER BY work.image_id
LIMIT 5

-- name: select_asked_vectors
-- The vectors of contents of a batch, by the names that they were asked by.
SELECT work.image_id, vectors.embedding
FROM birdwalk.work
JOIN {vectors} AS vectors USING (content_key)
WHERE work.run_id = $1 AND work.batch = $2 AND work.image_id = ANY ($3::text[])
    AND NOT work.gone AND work.error IS NULL

-- name: select_first_image
-- The first listed image that has a vector.
SELECT listed.image_id
FROM birdwalk.listings AS listed
JOIN {vectors} AS vectors USING (content_key)
WHERE listed.run_id = $1
ORDER BY listed.image_id
LIMIT 1

-- name: select_listed_vector
-- The vector of a listed image.
SELECT vectors.embedding
FROM birdwalk.listings AS listed
JOIN {vectors} AS vectors USING (content_key)
WHERE listed.run_id = $1 AND listed.image_id = $2

-- name: nearest_listed
-- The nearest images as they would be shown: of the listing, and of what the index has beside the
-- listed part of the bucket ($3 with the prefix $4; with a limit, $6, beside the listed names).
SELECT shown.bucket, shown.image_id, vectors.embedding <-> $1 AS distance
FROM {vectors} AS vectors
CROSS JOIN LATERAL (
    SELECT $3::text AS bucket, listed.image_id
    FROM birdwalk.listings AS listed
    WHERE listed.run_id = $2 AND listed.content_key = vectors.content_key
    UNION ALL
    SELECT images.bucket, images.image_id
    FROM {images} AS images
    WHERE images.content_key = vectors.content_key
        AND (
            images.bucket <> $3
            OR NOT starts_with(images.image_id, $4)
            OR ($6 AND NOT EXISTS (
                SELECT FROM birdwalk.listings AS listed
                WHERE listed.run_id = $2 AND listed.image_id = images.image_id
            ))
        )
) AS shown
ORDER BY vectors.embedding <-> $1
LIMIT $5
