-- How publish knows its own views, and what readers are told.
COMMENT ON VIEW public.{index} IS {comment}
