-- The images a run is to embed, cut into batches; a batch reads its work by its number. In batch 0
-- wait the twins of an image: others of the same content, one of which takes its place where it is
-- gone. An error says why an image is left for the next run.
CREATE TABLE IF NOT EXISTS birdwalk.pending (
    run_id bigint NOT NULL,
    batch integer NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    kind text NOT NULL CHECK (kind IN ('new', 'changed')),
    error text,
    PRIMARY KEY (run_id, batch, image_id)
)
