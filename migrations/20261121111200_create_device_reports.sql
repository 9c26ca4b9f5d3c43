-- What devices measured and found of themselves last, of each kind.
CREATE TABLE device_reports (
    device_id uuid NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('health', 'location', 'connection_types')),
    at timestamptz NOT NULL,
    report jsonb NOT NULL,
    PRIMARY KEY (device_id, kind)
) WITH (fillfactor = 60);
COMMENT ON TABLE device_reports IS 'The last report of each kind of a device; written once a second for all devices. Owner: devices.';
COMMENT ON COLUMN device_reports.at IS 'When it came, by the server''s clock.';
