-- name: select_vectors
-- The vectors of the images of a name, of bucket $1 or, where that is NULL, one a bucket. The key
-- begins with the bucket, so the search goes from bucket to bucket and scans no names.
WITH RECURSIVE buckets AS (
    SELECT coalesce($1::text, (SELECT min(bucket) FROM {images})) AS bucket
    UNION ALL
    SELECT (SELECT min(images.bucket) FROM {images} AS images WHERE images.bucket > buckets.bucket)
    FROM buckets
    WHERE $1::text IS NULL AND buckets.bucket IS NOT NULL
)
SELECT images.bucket, vectors.embedding
FROM buckets
JOIN {images} AS images ON images.bucket = buckets.bucket AND images.image_id = $2
JOIN {vectors} AS vectors USING (content_key)
ORDER BY images.bucket

-- name: select_alike_name
-- A name close to the one that was asked for, among the images that readers see ($1: of one bucket),
-- and, of a bucket, among what was listed last.
SELECT image_id
FROM (
    SELECT images.image_id
    FROM {images} AS images
    JOIN {vectors} AS vectors USING (content_key)
    WHERE $1::text IS NULL OR images.bucket = $1
    UNION ALL
    SELECT listings.image_id
    FROM birdwalk.listings
    JOIN birdwalk.runs ON runs.run_id = listings.run_id AND runs.bucket = $1
) AS known
WHERE position(lower($2) IN lower(image_id)) > 0
    OR position(lower(image_id) IN lower($2)) > 0
ORDER BY abs(length(image_id) - length($2)), image_id
LIMIT 1

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
