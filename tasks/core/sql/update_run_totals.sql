-- What a run's batches add up to; a model without a known price leaves the price as it was.
UPDATE birdwalk.runs SET
    embedded = total.embedded,
    refused = total.refused,
    calls = total.calls,
    retries = total.retries,
    deferrals = total.deferrals,
    price_usd = coalesce(total.answers * $2::numeric, price_usd)
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
