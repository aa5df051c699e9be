-- name: select_kept_listings
-- The listings of an index whose rows are kept, the newest first, and whether they go to their end.
-- The newest may have found nothing. One image of each other run is looked for by the key, in its
-- order: as a mere EXISTS, all listings would be read through.
SELECT
    runs.run_id,
    runs.bucket,
    runs.prefix,
    runs.listed_at,
    runs.options ->> 'limit' IS NULL AS whole
FROM birdwalk.runs
WHERE runs.index_name = $1 AND runs.listed_at IS NOT NULL AND NOT runs.plan_only
    AND (
        runs.listed_at = (
            SELECT max(last.listed_at) FROM birdwalk.runs AS last
            WHERE last.index_name = $1 AND NOT last.plan_only
        )
        OR (
            SELECT true FROM birdwalk.listings
            WHERE listings.run_id = runs.run_id
            ORDER BY listings.run_id, listings.image_id
            LIMIT 1
        )
    )
ORDER BY runs.listed_at DESC

-- name: compare_listing
-- A listing against what readers see of its part of the bucket, but for what newer listings, of the
-- prefixes $6, say. What the space was refused, it does not lack; an earlier content of that is to
-- go. A listing that was cut short ($5 is false) says nothing of what it does not have. What the
-- last completed run of the space has left is counted beside the rest.
WITH listed AS (
    SELECT
        listings.image_id,
        listings.content_key,
        refusals.content_key IS NOT NULL AS refused,
        listings.content_key IN (
            SELECT work.content_key
            FROM birdwalk.work
            JOIN birdwalk.runs USING (run_id)
            JOIN birdwalk.indexes USING (index_name)
            JOIN birdwalk.spaces USING (index_id, model, dimension, preprocessing)
            WHERE spaces.space_id = $4 AND runs.verdict = 'completed' AND work.error IS NOT NULL
        ) AS leftover
    FROM birdwalk.listings
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $4 AND refusals.content_key = listings.content_key
    WHERE listings.run_id = $1
        AND NOT EXISTS (
            SELECT FROM unnest($6::text[]) AS newer (prefix)
            WHERE starts_with(listings.image_id, newer.prefix)
        )
),
shown AS (
    SELECT images.image_id, images.content_key
    FROM {images} AS images
    JOIN {vectors} AS vectors USING (content_key)
    WHERE images.bucket = $2 AND starts_with(images.image_id, $3)
        AND NOT EXISTS (
            SELECT FROM unnest($6::text[]) AS newer (prefix)
            WHERE starts_with(images.image_id, newer.prefix)
        )
)
SELECT
    count(*) FILTER (WHERE NOT listed.refused) AS listed,
    count(*) FILTER (WHERE NOT listed.refused AND shown.image_id IS NULL) AS missing,
    count(*) FILTER (
        WHERE NOT listed.refused AND shown.content_key <> listed.content_key
    ) AS outdated,
    count(*) FILTER (
        WHERE $5 AND (
            listed.image_id IS NULL
            OR (listed.refused AND shown.content_key <> listed.content_key)
        )
    ) AS gone,
    count(*) FILTER (
        WHERE NOT listed.refused AND listed.leftover
            AND shown.content_key IS DISTINCT FROM listed.content_key
    ) AS leftover,
    count(shown.image_id) FILTER (WHERE $5 OR listed.image_id IS NOT NULL) AS compared
FROM listed
FULL JOIN shown USING (image_id)

-- name: select_lost
-- Images that readers see, {shown}, and that they would not see any more in another space, {vectors}:
-- whether it was refused them, how many there are, and a few of each.
SELECT lost.refused, count(*) AS images, (array_agg(lost.uri ORDER BY lost.uri))[1:3] AS examples
FROM (
    SELECT
        'gs://' || images.bucket || '/' || images.image_id AS uri,
        refusals.content_key IS NOT NULL AS refused
    FROM {images} AS images
    JOIN {shown} AS shown USING (content_key)
    LEFT JOIN {vectors} AS vectors USING (content_key)
    LEFT JOIN birdwalk.refusals
        ON refusals.space_id = $1 AND refusals.content_key = images.content_key
    WHERE vectors.content_key IS NULL
) AS lost
GROUP BY lost.refused
