-- CREATE OR REPLACE VIEW refuses a vector of another dimension.
DROP VIEW IF EXISTS public.{index}
