-- name: select_refusals
-- The refusals of a run's listed images by reason, the commonest first; rare reasons beyond the
-- 50th are one group, so that the counts add up.
WITH reasons AS (
    SELECT
        refusals.reason,
        count(*) AS images,
        max(refusals.attempts) AS attempts,
        max(refusals.last_refused) AS last_refused,
        (array_agg(listings.image_id ORDER BY listings.image_id))[1:3] AS examples,
        row_number() OVER (ORDER BY count(*) DESC, refusals.reason) AS place
    FROM birdwalk.refusals
    JOIN birdwalk.listings USING (content_key)
    WHERE refusals.space_id = $1 AND listings.run_id = $2
    GROUP BY refusals.reason
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

-- name: select_leftovers
-- The images that a run leaves for the next one by reason, the commonest first; rare reasons beyond
-- the 20th are one group, so that the counts add up.
WITH reasons AS (
    SELECT
        work.error AS reason,
        count(*) AS images,
        (array_agg(listings.image_id ORDER BY listings.image_id))[1:3] AS examples,
        row_number() OVER (ORDER BY count(*) DESC, work.error) AS place
    FROM birdwalk.work
    JOIN birdwalk.listings USING (run_id, content_key)
    WHERE work.run_id = $1 AND work.error IS NOT NULL
    GROUP BY work.error
)
SELECT
    CASE WHEN place <= 20 THEN reason ELSE 'Other reasons.' END AS reason,
    sum(images)::bigint AS images,
    min(examples) AS examples
FROM reasons
GROUP BY least(place, 21), 1
ORDER BY least(place, 21)
