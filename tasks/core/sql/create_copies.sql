-- Which rows are to be made of which: images without a vector, and where their content has one.
CREATE TEMPORARY TABLE copies (
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_hash text NOT NULL,
    donor_bucket text NOT NULL,
    donor_image_id text COLLATE "C" NOT NULL
) ON COMMIT DROP
