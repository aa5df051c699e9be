-- Let Postgres notice within half a minute that a session's machine is lost; the system's own time is
-- two hours. It has no effect on a Unix socket.
SELECT set_config('tcp_keepalives_idle', '15', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false),
    -- Where something was sent that nobody has acknowledged, no probes are.
    set_config('tcp_user_timeout', '30000', false)
