-- Of several images with the same content that nobody has embedded yet, the first is.
UPDATE diff SET kind = 'duplicate', kind_as_twin = kind
FROM (
    SELECT content_hash, min(image_id) AS first
    FROM diff
    WHERE kind IN ('new', 'changed') AND starts_with(content_hash, 'md5:')
    GROUP BY content_hash
    HAVING count(*) > 1
) AS twins
WHERE diff.content_hash = twins.content_hash
    AND diff.image_id <> twins.first
    AND diff.kind IN ('new', 'changed')
