-- How publish knows its own views.
COMMENT ON VIEW public.{index} IS 'birdwalk index'
