-- Keys of TLS session tickets: the same on every node, and still known after a restart.
CREATE TABLE ticket_keys (
    id uuid PRIMARY KEY,
    vault_key_id uuid NOT NULL REFERENCES vault_keys (id),
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE ticket_keys IS 'Keys that seal TLS session tickets, under the vault; a new one each day. Owner: platform.';
CREATE INDEX ticket_keys_vault_key_id_idx ON ticket_keys (vault_key_id);
