-- name: select_refusals
-- The refusals of a run's listed images by reason, the commonest first; rare reasons beyond the
-- 50th are one group, so that the counts add up.
WITH reasons AS (
    SELECT
        reason,
        count(*) AS images,
        max(attempts) AS attempts,
        max(refused_at) AS last_refused,
        (array_agg(image_id ORDER BY image_id))[1:3] AS examples,
        row_number() OVER (ORDER BY count(*) DESC, reason) AS place
    FROM birdwalk.refusals
    JOIN birdwalk.objects USING (image_id, generation)
    WHERE refusals.space_id = $1 AND refusals.bucket = $2 AND objects.run_id = $3
    GROUP BY reason
)
SELECT
    CASE WHEN place <= 50 THEN reason ELSE 'Other reasons.' END AS reason,
    sum(images)::bigint AS images,
    max(attempts) AS attempts,
    max(last_refused) AS last_refused,
    min(examples) AS examples
FROM reasons
GROUP BY least(place, 51), 1
ORDER BY least(place, 51)

-- name: select_pending
-- What a run leaves for the next one by reason, the commonest first; rare reasons beyond the 20th
-- are one group, so that the counts add up.
WITH reasons AS (
    SELECT
        error AS reason,
        count(*) AS images,
        (array_agg(image_id ORDER BY image_id))[1:3] AS examples,
        row_number() OVER (ORDER BY count(*) DESC, error) AS place
    FROM birdwalk.pending
    WHERE run_id = $1 AND error IS NOT NULL
    GROUP BY error
)
SELECT
    CASE WHEN place <= 20 THEN reason ELSE 'Other reasons.' END AS reason,
    sum(images)::bigint AS images,
    min(examples) AS examples
FROM reasons
GROUP BY least(place, 21), 1
ORDER BY least(place, 21)
