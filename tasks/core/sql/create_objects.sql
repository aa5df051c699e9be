-- The last listing of each index: the images of the bucket, by name.
CREATE TABLE IF NOT EXISTS birdwalk.objects (
    run_id bigint NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    updated timestamptz,
    PRIMARY KEY (run_id, image_id)
)
