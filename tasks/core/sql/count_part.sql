-- Rows of one part of a bucket.
SELECT count(*) FROM {table} AS stored
WHERE stored.bucket = $1 AND starts_with(stored.image_id, $2)
