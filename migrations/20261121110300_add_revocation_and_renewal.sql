-- A certificate that is revoked stays known, so that its CA cannot introduce it again; and certificates are renewed.

ALTER TABLE device_certificates ADD COLUMN revoked_at timestamptz;
COMMENT ON COLUMN device_certificates.revoked_at IS 'Since when it proves nothing; it is shown to nobody any more.';
ALTER TABLE device_certificates ADD COLUMN replaces uuid REFERENCES device_certificates (id) ON DELETE SET NULL;
COMMENT ON COLUMN device_certificates.replaces IS 'The certificate that it was issued to replace, which is good until the device comes by this one.';
ALTER TABLE device_certificates ADD COLUMN proven_at timestamptz;
COMMENT ON COLUMN device_certificates.proven_at IS 'When the device first came by it, where it replaced another.';
CREATE INDEX device_certificates_replaces_idx ON device_certificates (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX device_certificates_revoked_idx ON device_certificates (not_after) WHERE revoked_at IS NOT NULL;

ALTER TABLE ca_certificates ADD COLUMN renews boolean NOT NULL DEFAULT false CHECK (NOT renews OR sealed_key IS NOT NULL);
COMMENT ON COLUMN ca_certificates.renews IS 'Whether devices get new certificates of this CA over the link before theirs expire; the server must hold its key.';
