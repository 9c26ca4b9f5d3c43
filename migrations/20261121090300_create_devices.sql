-- CA certificates, deployment groups' names, devices and what they report.

CREATE TABLE ca_certificates (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    serial text NOT NULL CHECK (serial ~ '^[0-9]+$'),
    aki bytea,
    ski bytea NOT NULL,
    der bytea NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    description text CHECK (length(description) <= 500),
    check_expiration boolean NOT NULL DEFAULT false,
    jitp_product_id uuid REFERENCES products (id),
    jitp_tags text[] NOT NULL DEFAULT '{}',
    jitp_description text,
    vault_key_id uuid REFERENCES vault_keys (id),
    sealed_key bytea,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL,
    CHECK ((sealed_key IS NULL) = (vault_key_id IS NULL))
);
COMMENT ON TABLE ca_certificates IS 'CAs whose device certificates an org accepts, each proven to be the org''s. Owner: ca.';
COMMENT ON COLUMN ca_certificates.sealed_key IS 'PKCS#8 private key under the vault, for a CA that the server itself made.';
CREATE UNIQUE INDEX ca_certificates_ski_key ON ca_certificates (ski);
CREATE UNIQUE INDEX ca_certificates_serial_key ON ca_certificates (org_id, serial);
CREATE INDEX ca_certificates_jitp_product_id_idx ON ca_certificates (jitp_product_id);
CREATE INDEX ca_certificates_vault_key_id_idx ON ca_certificates (vault_key_id);

CREATE TABLE devices (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    product_id uuid NOT NULL REFERENCES products (id),
    identifier text NOT NULL CHECK (length(identifier) BETWEEN 1 AND 255 AND identifier !~ '[/[:cntrl:][:space:]]'),
    description text NOT NULL DEFAULT '' CHECK (length(description) <= 500),
    tags text[] NOT NULL DEFAULT '{}',
    updates_enabled boolean NOT NULL DEFAULT true,
    updates_blocked_until timestamptz,
    first_seen_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
COMMENT ON TABLE devices IS 'Devices as operators know them. Owner: devices.';
COMMENT ON COLUMN devices.updates_blocked_until IS 'No deployment tells this device before then: it asked for later, or failed.';
CREATE UNIQUE INDEX devices_identifier_key ON devices (org_id, identifier);
CREATE INDEX devices_product_id_idx ON devices (product_id, identifier) WHERE deleted_at IS NULL;
CREATE INDEX devices_tags_idx ON devices USING gin (tags);

CREATE TABLE device_states (
    device_id uuid PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    connection text NOT NULL DEFAULT 'not_seen' CHECK (connection IN ('not_seen', 'connecting', 'connected', 'disconnected')),
    link_id uuid,
    node_id uuid,
    connected_at timestamptz,
    disconnected_at timestamptz,
    disconnect_reason text,
    last_seen_at timestamptz,
    address text,
    interface text,
    api_version text,
    fwup_version text,
    firmware_uuid uuid,
    firmware_product text,
    firmware_version text,
    firmware_platform text,
    firmware_architecture text,
    firmware_author text,
    firmware_description text,
    firmware_vcs_identifier text,
    firmware_misc text,
    firmware_since timestamptz,
    validation text NOT NULL DEFAULT 'unknown' CHECK (validation IN ('unknown', 'validated', 'not_validated')),
    auto_reverted boolean NOT NULL DEFAULT false,
    update_status text,
    update_percent smallint CHECK (update_percent BETWEEN 0 AND 100)
) WITH (fillfactor = 70);
COMMENT ON TABLE device_states IS 'What is known of a device now: its link, its running firmware, its update. Written in batches. Owner: devices.';
COMMENT ON COLUMN device_states.link_id IS 'The link that is the device''s one session; a late goodbye of an older one does not match it.';
COMMENT ON COLUMN device_states.update_status IS 'Copied from the update in flight for the lists; null when there is none.';
CREATE INDEX device_states_node_id_idx ON device_states (node_id) WHERE connection IN ('connecting', 'connected');

CREATE TABLE device_certificates (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    device_id uuid NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    serial text NOT NULL CHECK (serial ~ '^[0-9]+$'),
    aki bytea,
    ski bytea,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    fingerprint_sha1 bytea NOT NULL CHECK (length(fingerprint_sha1) = 20),
    public_key_fingerprint bytea NOT NULL CHECK (length(public_key_fingerprint) = 32),
    der bytea NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE device_certificates IS 'Certificates pinned to devices; one public key belongs to one device. Owner: devices.';
CREATE UNIQUE INDEX device_certificates_fingerprint_key ON device_certificates (fingerprint);
CREATE UNIQUE INDEX device_certificates_serial_key ON device_certificates (device_id, serial);
CREATE INDEX device_certificates_public_key_idx ON device_certificates (public_key_fingerprint);
CREATE INDEX device_certificates_org_id_idx ON device_certificates (org_id);

CREATE TABLE refusals (
    org_id uuid NOT NULL REFERENCES orgs (id),
    identifier text NOT NULL CHECK (length(identifier) <= 255),
    reason text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    count bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, identifier, reason)
);
COMMENT ON TABLE refusals IS 'Devices that an org can name and that were answered 401, for its operators to see. Owner: devices.';
