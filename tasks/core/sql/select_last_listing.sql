-- The run whose listing of the bucket is the index's last, of what, and whether to its end. One
-- image of each run is looked for by the key, in its order: as a mere EXISTS, all listings would be
-- read through.
SELECT
    runs.run_id,
    runs.bucket,
    runs.prefix,
    runs.started_at AS listed_at,
    runs.options ->> 'limit' IS NULL AS whole
FROM birdwalk.runs
WHERE runs.index_name = $1
    AND (
        SELECT true FROM birdwalk.objects
        WHERE objects.run_id = runs.run_id
        ORDER BY objects.run_id, objects.image_id
        LIMIT 1
    )
ORDER BY runs.run_id DESC
LIMIT 1
