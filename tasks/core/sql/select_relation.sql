-- What stands in the place of the view: its kind, whether birdwalk made it, whose it is, and whether
-- who asks may drop it: its owner may, and the schema's.
SELECT relkind::text AS kind, obj_description(pg_class.oid, 'pg_class') AS comment,
    relowner::regrole::text AS owner, quote_ident(current_user) AS asking,
    (SELECT rolsuper FROM pg_roles WHERE pg_roles.oid = relowner) AS owner_is_superuser,
    pg_has_role(relowner, 'USAGE') OR pg_has_role(nspowner, 'USAGE') AS droppable
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relnamespace = 'public'::regnamespace AND relname = $1
