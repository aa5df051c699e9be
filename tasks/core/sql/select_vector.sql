-- The vector of one image.
SELECT embedding FROM {table} WHERE bucket = $1 AND image_id = $2
