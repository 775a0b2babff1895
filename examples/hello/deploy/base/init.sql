CREATE TABLE IF NOT EXISTS data (
  id bigserial PRIMARY KEY,
  key text NOT NULL,
  value text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS visitors (
  id bigserial PRIMARY KEY,
  ip text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now()
);
