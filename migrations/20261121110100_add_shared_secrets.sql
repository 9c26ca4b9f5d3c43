-- Devices without a certificate sign their upgrade with a secret that they share with the server.

CREATE TABLE shared_secrets (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    product_id uuid NOT NULL REFERENCES products (id),
    device_id uuid REFERENCES devices (id) ON DELETE CASCADE,
    key text NOT NULL CHECK (key ~ '^nh[pd]_[A-Za-z0-9+/]{43}$'),
    vault_key_id uuid NOT NULL REFERENCES vault_keys (id),
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    deactivated_at timestamptz,
    last_used_at timestamptz,
    CHECK ((device_id IS NULL) = starts_with(key, 'nhp_'))
);
COMMENT ON TABLE shared_secrets IS 'Secrets of products, which create their devices, and of devices; under the vault, since they are needed to check a signature. Owner: devices.';
COMMENT ON COLUMN shared_secrets.key IS 'What a device names the secret by; no secret itself.';
CREATE UNIQUE INDEX shared_secrets_key_key ON shared_secrets (key);
CREATE INDEX shared_secrets_org_id_idx ON shared_secrets (org_id);
CREATE INDEX shared_secrets_product_id_idx ON shared_secrets (product_id, id);
CREATE INDEX shared_secrets_device_id_idx ON shared_secrets (device_id, id);
CREATE INDEX shared_secrets_vault_key_id_idx ON shared_secrets (vault_key_id);
