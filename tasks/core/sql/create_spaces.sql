-- One row an embedding space of an index; its vectors are in a table of their own.
CREATE TABLE IF NOT EXISTS birdwalk.spaces (
    space_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_name text NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    preprocessing text NOT NULL,
    status text NOT NULL DEFAULT 'loading'
        CHECK (status IN ('loading', 'active', 'retired', 'failed')),
    rows bigint NOT NULL DEFAULT 0,
    recall real,
    created_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    published_at timestamptz,
    UNIQUE (index_name, model, dimension, preprocessing)
)
