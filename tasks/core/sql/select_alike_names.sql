-- Names of the bucket, embedded or listed, close to the one that was asked for.
SELECT image_id
FROM (
    SELECT image_id FROM {table} WHERE bucket = $1
    UNION
    SELECT objects.image_id FROM birdwalk.objects
    JOIN birdwalk.runs ON runs.run_id = objects.run_id AND runs.bucket = $1
) AS known
WHERE position(lower($2) IN lower(image_id)) > 0
ORDER BY length(image_id), image_id
LIMIT 3
