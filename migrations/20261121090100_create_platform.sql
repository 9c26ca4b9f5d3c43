-- What the server itself keeps: news, nodes, secrets.

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    org_id uuid NOT NULL,
    product_id uuid,
    kind text NOT NULL,
    subject_id uuid NOT NULL
);
COMMENT ON TABLE events IS 'News for nodes and browsers: ids only, kept one hour; NOTIFY is only its bell. Owner: platform.';
CREATE INDEX events_at_idx ON events (at);

CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE nodes IS 'Server processes; one that was not seen for 30 s is dead and its links are gone. Owner: platform.';

CREATE TABLE vault_keys (
    id uuid PRIMARY KEY,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE vault_keys IS 'Data keys, sealed by the master key, which never enters the database. Owner: platform.';

CREATE TABLE secrets (
    name text PRIMARY KEY,
    vault_key_id uuid NOT NULL REFERENCES vault_keys (id),
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE secrets IS 'Secrets of the server that must be read again, each sealed by a data key and bound to its name. Owner: platform.';
CREATE INDEX secrets_vault_key_id_idx ON secrets (vault_key_id);
