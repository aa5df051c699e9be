-- name: select_relation
-- What stands in the place of the view: its kind, whether birdwalk made it, whose it is, and whether
-- who asks may drop it: its owner may, and the schema's.
SELECT relkind::text AS kind, obj_description(pg_class.oid, 'pg_class') AS comment,
    relowner::regrole::text AS owner, quote_ident(current_user) AS asking,
    (SELECT rolsuper FROM pg_roles WHERE pg_roles.oid = relowner) AS owner_is_superuser,
    pg_has_role(relowner, 'USAGE') OR pg_has_role(nspowner, 'USAGE') AS droppable
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relnamespace = 'public'::regnamespace AND relname = $1

-- name: select_grants
-- Who may do what with the view, or with one column of it, to be granted again on its successor.
SELECT acl.privilege_type AS privilege, acl.grantee::regrole::text AS grantee,
    acl.grantee = 0 AS public, acl.is_grantable AS grantable, granted.column_name
FROM (
    SELECT relowner, relacl AS acl, NULL AS column_name
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname = $1
    UNION ALL
    SELECT relowner, attacl, attname::text
    FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relname = $1
) AS granted, aclexplode(granted.acl) AS acl
WHERE acl.grantee <> granted.relowner

-- name: select_other_owner
-- The view's owner, where that is not who publishes.
SELECT relowner::regrole::text
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = $1
    AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)

-- name: drop_view
-- CREATE OR REPLACE VIEW refuses a vector of another dimension.
DROP VIEW IF EXISTS public.{index}

-- name: create_view
-- What readers query. CREATE takes no bound values, so the model's name is a quoted literal.
CREATE VIEW public.{index} AS
SELECT image_id, content, embedding, bucket, generation, {model}::text AS model
FROM {table}

-- name: comment_view
-- How publish knows its own views, and what readers are told.
COMMENT ON VIEW public.{index} IS {comment}
