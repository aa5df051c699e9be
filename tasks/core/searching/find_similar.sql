-- name: search
-- The nearest images whose name begins with $3 and that were written at $5 or later (NULL: whenever);
-- equally near ones by their names. An index scan behind a filter gives the $4 candidates almost in
-- order; the added zero lets Postgres sort all of them, and not believe that they are sorted.
WITH candidates AS MATERIALIZED (
    SELECT
        images.bucket,
        images.image_id,
        images.generation,
        vectors.embedding <-> $1 AS distance
    FROM {vectors} AS vectors
    JOIN {images} AS images USING (content_key)
    WHERE starts_with(images.image_id, $3)
        AND ($5::timestamptz IS NULL OR images.updated >= $5)
    ORDER BY vectors.embedding <-> $1
    LIMIT $4
)
SELECT bucket, image_id, distance, generation
FROM candidates
ORDER BY distance + 0, image_id, bucket
LIMIT $2
