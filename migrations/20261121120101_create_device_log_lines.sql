-- What devices log. There is no foreign key: its check would lock a row of devices for each line.
CREATE TABLE device_log_lines (
    id uuid PRIMARY KEY,
    device_id uuid NOT NULL,
    at timestamptz NOT NULL,
    level text NOT NULL CHECK (level IN ('debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency')),
    message text NOT NULL,
    meta jsonb NOT NULL CHECK (jsonb_typeof(meta) = 'object')
);
COMMENT ON TABLE device_log_lines IS 'Log lines of devices, kept for three days; written once a second for all devices. Owner: devices.';
COMMENT ON COLUMN device_log_lines.id IS 'UUID version 7: its time is when the line came, by the server''s clock.';
COMMENT ON COLUMN device_log_lines.at IS 'When it was written, by the device''s clock.';
CREATE INDEX device_log_lines_device_id_idx ON device_log_lines (device_id, id);
