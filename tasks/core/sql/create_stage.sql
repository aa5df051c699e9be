-- Where rows wait that replace others.
CREATE TEMPORARY TABLE IF NOT EXISTS stage (
    bucket text NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    embedding vector({dimension}) NOT NULL,
    generation bigint NOT NULL,
    content_hash text
) ON COMMIT DROP
