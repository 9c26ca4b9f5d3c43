-- Products, the keys an org trusts, and the firmware signed by them.

CREATE TABLE products (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100 AND name = btrim(name) AND name !~ '[/[:cntrl:]]'),
    require_unique_firmware_version boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
COMMENT ON TABLE products IS 'Devices that run the same kind of firmware. Owner: products.';
COMMENT ON COLUMN products.require_unique_firmware_version IS 'One version is uploaded once for each platform and architecture.';
CREATE UNIQUE INDEX products_name_key ON products (org_id, lower(name)) WHERE deleted_at IS NULL;

CREATE TABLE signing_keys (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100 AND name = btrim(name) AND name !~ '[/[:cntrl:]]'),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    created_by uuid REFERENCES users (id),
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE signing_keys IS 'Ed25519 public keys whose firmware the org trusts. Owner: keys.';
CREATE UNIQUE INDEX signing_keys_name_key ON signing_keys (org_id, name);
CREATE UNIQUE INDEX signing_keys_public_key_key ON signing_keys (org_id, public_key);
CREATE INDEX signing_keys_created_by_idx ON signing_keys (created_by);

CREATE TABLE firmwares (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    product_id uuid NOT NULL REFERENCES products (id),
    signing_key_id uuid NOT NULL REFERENCES signing_keys (id),
    uuid uuid NOT NULL,
    version text NOT NULL CHECK (length(version) BETWEEN 1 AND 100),
    platform text NOT NULL,
    architecture text NOT NULL,
    author text,
    description text,
    misc text,
    vcs_identifier text,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    blob text NOT NULL,
    uploaded_by uuid REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
COMMENT ON TABLE firmwares IS 'Signed .fw archives in the object store, each verified before its row was written. Owner: firmware.';
COMMENT ON COLUMN firmwares.uuid IS 'fwup''s UUID of meta.conf: the same in every product that holds this firmware.';
CREATE UNIQUE INDEX firmwares_uuid_key ON firmwares (product_id, uuid);
CREATE INDEX firmwares_org_id_idx ON firmwares (org_id);
CREATE INDEX firmwares_signing_key_id_idx ON firmwares (signing_key_id);
CREATE INDEX firmwares_uploaded_by_idx ON firmwares (uploaded_by);
