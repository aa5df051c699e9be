-- Close a run, with the counts of its durable batches.
UPDATE birdwalk.runs SET
    finished_at = now(),
    seconds = $2,
    verdict = $3,
    message = $4,
    embedded = total.embedded,
    refused = total.refused,
    calls = total.calls,
    retries = total.retries,
    deferrals = total.deferrals,
    price_usd = total.answers * $5::numeric
FROM (
    SELECT
        coalesce(sum(batches.embedded), 0) AS embedded,
        coalesce(sum(batches.refused), 0) AS refused,
        coalesce(sum(batches.calls), 0) AS calls,
        coalesce(sum(batches.answers), 0) AS answers,
        coalesce(sum(batches.retries), 0) AS retries,
        coalesce(sum(batches.deferrals), 0) AS deferrals
    FROM birdwalk.batches
    WHERE batches.run_id = $1
) AS total
WHERE runs.run_id = $1
