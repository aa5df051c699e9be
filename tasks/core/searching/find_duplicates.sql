-- name: select_contents
-- How many contents have images whose name begins with $1, and those of them that have several.
WITH contents AS MATERIALIZED (
    SELECT images.content_key, count(*) AS images
    FROM {images} AS images
    JOIN {vectors} AS vectors USING (content_key)
    WHERE starts_with(images.image_id, $1)
    GROUP BY images.content_key
)
SELECT
    count(*) AS contents,
    coalesce(array_agg(content_key) FILTER (WHERE images > 1), '{}') AS copied
FROM contents

-- name: select_near_pairs
-- Each content with those of its nearest that are within a distance: one search a content, through
-- the approximate index. Contents that no image has (any more) are neither asked with nor found.
SELECT one.content_key, other.content_key AS other_key, other.distance
FROM {vectors} AS one
CROSS JOIN LATERAL (
    SELECT stored.content_key, stored.embedding <-> one.embedding AS distance
    FROM {vectors} AS stored
    WHERE EXISTS (
        SELECT FROM {images} AS images
        WHERE images.content_key = stored.content_key AND starts_with(images.image_id, $2)
    )
    ORDER BY stored.embedding <-> one.embedding
    LIMIT $3
) AS other
WHERE EXISTS (
        SELECT FROM {images} AS images
        WHERE images.content_key = one.content_key AND starts_with(images.image_id, $2)
    )
    AND other.distance <= $1
    AND other.content_key <> one.content_key

-- name: select_near_pairs_exactly
-- The same, where the contents are few: each is compared with each.
WITH shown AS MATERIALIZED (
    SELECT content_key, embedding
    FROM {vectors} AS vectors
    WHERE EXISTS (
        SELECT FROM {images} AS images
        WHERE images.content_key = vectors.content_key AND starts_with(images.image_id, $2)
    )
)
SELECT one.content_key, other.content_key AS other_key, other.distance
FROM shown AS one
CROSS JOIN LATERAL (
    SELECT shown.content_key, shown.embedding <-> one.embedding AS distance
    FROM shown
    WHERE shown.embedding <-> one.embedding <= $1
    ORDER BY shown.embedding <-> one.embedding
    LIMIT $3
) AS other
WHERE other.content_key <> one.content_key

-- name: select_images
-- The images of some contents, of those whose name begins with $2.
SELECT images.bucket, images.image_id, images.generation, images.content_key
FROM {images} AS images
WHERE images.content_key = ANY ($1::text[]) AND starts_with(images.image_id, $2)
