-- The view's owner, where that is not who publishes.
SELECT relowner::regrole::text
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = $1
    AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
