-- What would be recovered is as it was by the time of the comparison.
DELETE FROM diff
USING recovered
WHERE diff.image_id = recovered.image_id AND diff.generation = recovered.generation
