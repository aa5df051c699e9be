-- The images a run is to embed, cut into batches; a batch reads its work by its number.
CREATE TABLE IF NOT EXISTS birdwalk.pending (
    run_id bigint NOT NULL,
    batch integer NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    kind text NOT NULL CHECK (kind IN ('new', 'changed')),
    PRIMARY KEY (run_id, batch, image_id)
)
