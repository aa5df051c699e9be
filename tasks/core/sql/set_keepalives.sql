-- Let Postgres notice within half a minute that a session's machine is lost; the system's own time is
-- two hours. It has no effect on a Unix socket.
SELECT set_config('tcp_keepalives_idle', '15', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false)
