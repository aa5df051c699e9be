-- name: create_stage
-- Where rows wait that replace others.
CREATE TEMPORARY TABLE IF NOT EXISTS stage (
    bucket text NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    embedding vector({dimension}) NOT NULL,
    generation bigint NOT NULL,
    content_hash text
) ON COMMIT DROP

-- name: upsert_stage
-- Put the waiting rows in the place of those they replace; a newer generation is never overwritten.
INSERT INTO {table} AS stored (bucket, image_id, embedding, generation, content_hash)
SELECT bucket, image_id, embedding, generation, content_hash FROM stage
ON CONFLICT (bucket, image_id) DO UPDATE SET
    embedding = excluded.embedding,
    generation = excluded.generation,
    content_hash = excluded.content_hash,
    embedded_at = now()
WHERE stored.generation <= excluded.generation
