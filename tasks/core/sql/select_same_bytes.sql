-- Images of the same content, each with the first of its kind.
SELECT copy.bucket, copy.image_id, copy.other_bucket, copy.other_image_id, 0::float8 AS distance
FROM (
    SELECT
        bucket,
        image_id,
        first_value(bucket) OVER content AS other_bucket,
        first_value(image_id) OVER content AS other_image_id
    FROM {table}
    WHERE starts_with(content_hash, 'md5:') AND starts_with(image_id, $1)
    WINDOW content AS (PARTITION BY content_hash ORDER BY bucket, image_id)
) AS copy
WHERE (copy.bucket, copy.image_id) <> (copy.other_bucket, copy.other_image_id)
