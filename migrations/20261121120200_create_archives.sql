-- Archives beside the firmware: a release has one or none.

CREATE TABLE archives (
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
COMMENT ON TABLE archives IS 'Signed .fw archives that devices get beside their firmware, each verified before its row was written. Owner: archives.';
COMMENT ON COLUMN archives.uuid IS 'fwup''s UUID of meta.conf: devices remember by it what they took.';
CREATE UNIQUE INDEX archives_uuid_key ON archives (product_id, uuid);
CREATE INDEX archives_org_id_idx ON archives (org_id);
CREATE INDEX archives_signing_key_id_idx ON archives (signing_key_id);
CREATE INDEX archives_uploaded_by_idx ON archives (uploaded_by);

ALTER TABLE releases ADD COLUMN archive_id uuid REFERENCES archives (id);
COMMENT ON COLUMN releases.archive_id IS 'What the group''s devices get beside the firmware; of the group''s own product.';
CREATE INDEX releases_archive_id_idx ON releases (archive_id) WHERE archive_id IS NOT NULL;
