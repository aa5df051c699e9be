-- The images whose vectors a run would recover from the parts of dead runs.
CREATE TEMPORARY TABLE recovered (
    image_id text COLLATE "C" PRIMARY KEY,
    generation bigint NOT NULL,
    content_hash text
) ON COMMIT DROP
