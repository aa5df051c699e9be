-- What a run's batches add up to.
SELECT
    coalesce(sum(images), 0)::bigint AS images,
    coalesce(sum(embedded), 0)::bigint AS embedded,
    coalesce(sum(recovered), 0)::bigint AS recovered,
    coalesce(sum(refused), 0)::bigint AS refused,
    coalesce(sum(gone), 0)::bigint AS gone,
    coalesce(sum(pending), 0)::bigint AS pending,
    coalesce(sum(calls), 0)::bigint AS calls,
    coalesce(sum(answers), 0)::bigint AS answers,
    coalesce(sum(retries), 0)::bigint AS retries,
    coalesce(sum(deferrals), 0)::bigint AS deferrals
FROM birdwalk.batches
WHERE run_id = $1
