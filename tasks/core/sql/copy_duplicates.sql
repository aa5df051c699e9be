-- Give images the vector of their content.
INSERT INTO {table} AS stored (bucket, image_id, embedding, generation, content_hash)
SELECT $1, copies.image_id, donor.embedding, copies.generation, copies.content_hash
FROM copies
JOIN {table} AS donor
    ON donor.bucket = copies.donor_bucket AND donor.image_id = copies.donor_image_id
ON CONFLICT (bucket, image_id) DO UPDATE SET
    embedding = excluded.embedding,
    generation = excluded.generation,
    content_hash = excluded.content_hash,
    embedded_at = now()
