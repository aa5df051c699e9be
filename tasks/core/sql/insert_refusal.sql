-- Remember an object version that the model refused.
INSERT INTO birdwalk.refusals (space_id, bucket, image_id, generation, reason)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (space_id, bucket, image_id) DO UPDATE SET
    generation = excluded.generation,
    reason = excluded.reason,
    attempts = CASE
        WHEN refusals.generation = excluded.generation THEN refusals.attempts + 1 ELSE 1
    END,
    refused_at = now()
