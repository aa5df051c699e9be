-- How the listing differs from the space's table: one row an image that is not as it was.
CREATE TEMPORARY TABLE diff (
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    kind text NOT NULL
) ON COMMIT DROP
