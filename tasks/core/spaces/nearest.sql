-- name: select_vector
-- The vector of an image that readers see.
SELECT vectors.embedding
FROM {images} AS images
JOIN {vectors} AS vectors USING (content_key)
WHERE images.bucket = $1 AND images.image_id = $2

-- name: select_alike_names
-- Names of the bucket, indexed or listed, close to the one that was asked for.
SELECT image_id
FROM (
    SELECT image_id FROM {images} WHERE bucket = $1
    UNION
    SELECT listings.image_id FROM birdwalk.listings
    JOIN birdwalk.runs ON runs.run_id = listings.run_id AND runs.bucket = $1
) AS known
WHERE position(lower($2) IN lower(image_id)) > 0
ORDER BY length(image_id), image_id
LIMIT 3

-- name: nearest
-- The nearest contents as a reader gets them, through the index where there is one.
SELECT content_key, embedding <-> $1 AS distance
FROM {vectors}
ORDER BY embedding <-> $1
LIMIT $2

-- name: nearest_exact
-- The truly nearest contents: the added zero keeps any index out of it.
SELECT content_key, embedding <-> $1 AS distance
FROM {vectors}
ORDER BY (embedding <-> $1) + 0
LIMIT $2
