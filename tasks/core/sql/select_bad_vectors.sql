-- Rows of a bucket whose vector is not of norm 1 or not of the space's dimension.
SELECT stored.image_id, count(*) OVER () AS total
FROM {table} AS stored
WHERE stored.bucket = $1
    AND (abs(vector_norm(stored.embedding) - 1) > 0.001 OR vector_dims(stored.embedding) <> $2)
ORDER BY stored.image_id
LIMIT 5
