-- Names of a space close to the one that was asked for.
SELECT image_id
FROM {table}
WHERE position(lower($1) IN lower(image_id)) > 0
    OR position(lower(image_id) IN lower($1)) > 0
ORDER BY abs(length(image_id) - length($1)), image_id
LIMIT 1
