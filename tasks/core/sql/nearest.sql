-- The neighbours as a reader gets them, through the index where there is one.
SELECT bucket, image_id, embedding <-> $1 AS distance
FROM {table}
ORDER BY embedding <-> $1
LIMIT $2
