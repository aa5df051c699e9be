-- Names close to the one that was asked for.
SELECT image_id FROM {table}
WHERE bucket = $1 AND position(lower($2) IN lower(image_id)) > 0
ORDER BY length(image_id), image_id
LIMIT 3
