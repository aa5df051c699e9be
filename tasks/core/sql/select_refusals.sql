-- The refusals of a space's bucket by reason, the commonest first.
SELECT
    reason,
    count(*) AS images,
    max(attempts) AS attempts,
    max(refused_at) AS last_refused,
    (array_agg(image_id ORDER BY image_id))[1:3] AS examples
FROM birdwalk.refusals
WHERE space_id = $1 AND bucket = $2 AND starts_with(image_id, $3)
GROUP BY reason
ORDER BY count(*) DESC, reason
LIMIT 50
