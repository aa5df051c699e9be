-- name: select_relation
-- What stands in the place of the view: its kind, whether birdwalk made it, whose it is, and whether
-- who asks may replace it: its owner may.
SELECT relkind::text AS kind, obj_description(pg_class.oid, 'pg_class') AS comment,
    relowner::regrole::text AS owner, quote_ident(current_user) AS asking,
    (SELECT rolsuper FROM pg_roles WHERE pg_roles.oid = relowner) AS owner_is_superuser,
    pg_has_role(relowner, 'USAGE') AS replaceable
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = $1

-- name: replace_view
-- What readers query. The vector is shown without its dimension, so that the view can be led to a
-- space of another one and keeps its owner and its grants. Nothing can be bound here, so the
-- model's name is a quoted literal.
CREATE OR REPLACE VIEW public.{index} AS
SELECT
    images.image_id,
    'gs://' || images.bucket || '/' || images.image_id AS content,
    vectors.embedding::{extension}.vector AS embedding,
    images.bucket,
    images.generation,
    {model}::text AS model,
    images.size,
    images.content_type,
    images.updated,
    images.metadata
FROM {images} AS images
JOIN {vectors} AS vectors USING (content_key)

-- name: select_owner_without_rights
-- The owner of a view, where it may not read the tables that the view reads.
SELECT pg_get_userbyid(relowner)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = $1
    AND NOT (
        has_schema_privilege(relowner, 'birdwalk', 'USAGE')
        AND has_table_privilege(relowner, $2::text::regclass, 'SELECT')
        AND has_table_privilege(relowner, $3::text::regclass, 'SELECT')
    )

-- name: grant_schema
-- Let a role name what is in the schema.
GRANT USAGE ON SCHEMA birdwalk TO {owner}

-- name: grant_tables
-- Let a role read the tables of an index.
GRANT SELECT ON {images}, {vectors} TO {owner}

-- name: comment_view
-- How publish knows its own views, and what searches are told.
COMMENT ON VIEW public.{index} IS {comment}

-- name: drop_view
-- An index that is given up.
DROP VIEW IF EXISTS public.{index}

-- name: select_active_space
-- The space that readers of an index see, held for the caller's transaction: whoever changes what
-- readers see waits here for its turn. A new space of the index refers to the row and does not wait:
-- with FOR UPDATE it would, while it keeps what find_similar's maker waits for.
SELECT space_id FROM birdwalk.indexes WHERE index_name = $1 FOR NO KEY UPDATE

-- name: update_active_space
-- The space that readers see from this transaction on.
UPDATE birdwalk.indexes SET space_id = $2 WHERE index_name = $1

-- name: update_published_at
-- When a space was last shown.
UPDATE birdwalk.spaces SET published_at = now() WHERE space_id = $1

-- name: set_lock_timeout
-- How long the statements of the caller's transaction wait for a lock.
SELECT set_config('lock_timeout', $1, true)

-- name: select_function
-- Whether there is a function of that name and those arguments, and whether birdwalk made it. Not by
-- to_regprocedure, which in a transaction may not see what another one has made meanwhile.
SELECT obj_description(pg_proc.oid, 'pg_proc') AS comment
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proname = 'find_similar'
    AND oidvectortypes(proargtypes) = 'text, integer, text, text'

-- name: load_extension
-- A session knows pgvector's settings once it has handled a vector; before, only a superuser may give
-- them to a function.
SELECT '[1]'::{extension}.vector

-- name: create_find_similar
-- The nearest images of an index, with what its searches need: read from the view's comment, where
-- the gate's measurement is. It reads with the rights of who asks, so SELECT on the view is enough.
-- A text body survives that the view is led to another space. VOLATILE lets each statement see what
-- is committed: with the caller's snapshot, taken before a publish, the view that the publish has led
-- to another space would join the images of before with that space's vectors. Where the approximate index gives
-- fewer images than were asked for, the added zero keeps it out of a second, exact search.
CREATE OR REPLACE FUNCTION public.find_similar(
    image text, count integer DEFAULT 10, prefix text DEFAULT '', index text DEFAULT 'image_embeddings'
)
RETURNS TABLE (image_id text, distance double precision, content text)
LANGUAGE plpgsql
VOLATILE
SET hnsw.ef_search = 100
SET hnsw.iterative_scan = 'strict_order'
AS $find_similar$
DECLARE
    view regclass := to_regclass(format('public.%I', index));
    place text[] := regexp_match(image, '^gs://([^/]+)/(.+)$');
    filtered boolean := coalesce(prefix, '') <> '';
    wanted integer := coalesce(count, 10);
    candidates integer;
    measured integer;
    images integer;
    question {extension}.vector;
    asked text;
    detour text;
    names text[];
    distances double precision[];
    contents text[];
BEGIN
    IF view IS NULL THEN
        RAISE EXCEPTION 'There is no index %.', quote_literal(index)
            USING HINT = 'Give the name of a view that birdwalk made, as in index => ''cropped''.';
    END IF;
    EXECUTE format(
        'SELECT embedding, content, count(*) OVER () FROM %s'
        ' WHERE image_id = $1 AND ($2 IS NULL OR bucket = $2) LIMIT 1',
        view
    ) INTO question, asked, images USING coalesce(place[2], image), place[1];
    IF images IS NULL THEN
        RAISE EXCEPTION 'Image % is not in index %.', quote_literal(image), quote_literal(index)
            USING HINT = 'Give the full object name of an image of the index.';
    ELSIF images > 1 THEN
        RAISE EXCEPTION '% images of index % are called %.', images, quote_literal(index),
            quote_literal(image) USING HINT = format('Ask by address, as in %L.', asked);
    END IF;
    -- Behind a filter strict_order would leave out what it finds late, and relaxed_order gives
    -- rows only almost in order.
    candidates := wanted * CASE WHEN filtered THEN 2 ELSE 1 END;
    measured := substring(obj_description(view, 'pg_class') from 'hnsw.ef_search = (\d+)')::integer;
    measured := greatest(measured, 2 * candidates, CASE WHEN filtered THEN 400 END);
    PERFORM
        set_config('hnsw.ef_search', least(1000, greatest(1, measured))::text, true),
        set_config(
            'hnsw.iterative_scan',
            CASE WHEN filtered THEN 'relaxed_order' ELSE 'strict_order' END,
            true
        );
    FOREACH detour IN ARRAY ARRAY['', ' + 0'] LOOP
        EXECUTE format(
            'WITH candidates AS MATERIALIZED ('
            ' SELECT image_id, embedding OPERATOR({extension}.<->) $1 AS distance, content FROM %s'
            ' WHERE content <> $2 AND starts_with(image_id, $3)'
            ' ORDER BY (embedding OPERATOR({extension}.<->) $1)%s LIMIT $4'
            '), nearest AS ('
            ' SELECT * FROM candidates ORDER BY distance + 0, image_id, content LIMIT $5'
            ') SELECT'
            ' array_agg(image_id ORDER BY distance, image_id, content),'
            ' array_agg(distance ORDER BY distance, image_id, content),'
            ' array_agg(content ORDER BY distance, image_id, content)'
            ' FROM nearest',
            view, detour
        ) INTO names, distances, contents USING question, asked, coalesce(prefix, ''), candidates, wanted;
        EXIT WHEN cardinality(names) = wanted;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(names, distances, contents);
END
$find_similar$

-- name: comment_find_similar
-- How publish knows its own function, and whether it is the present one.
COMMENT ON FUNCTION public.find_similar(text, integer, text, text) IS {comment}
