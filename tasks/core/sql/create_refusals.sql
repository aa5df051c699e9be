-- Object versions that the model will never accept, so that no run pays for asking again.
CREATE TABLE IF NOT EXISTS birdwalk.refusals (
    space_id bigint NOT NULL REFERENCES birdwalk.spaces ON DELETE CASCADE,
    bucket text NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, bucket, image_id)
)
