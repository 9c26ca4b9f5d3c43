-- Keys by which devices are reached in overlay networks, as the devices report them.
CREATE TABLE network_identities (
    device_id uuid NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    service text NOT NULL CHECK (service IN ('iroh', 'netbird', 'tailscale', 'wireguard')),
    instance text NOT NULL CHECK (length(instance) BETWEEN 1 AND 255),
    identifier text NOT NULL CHECK (length(identifier) BETWEEN 1 AND 255),
    details jsonb NOT NULL CHECK (jsonb_typeof(details) = 'object'),
    last_reported_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, service, instance)
);
COMMENT ON TABLE network_identities IS 'Keys of devices in overlay networks; a key of a network is one device''s, whoever reported it first. Owner: devices.';
COMMENT ON COLUMN network_identities.instance IS 'Which of several of the same network.';
COMMENT ON COLUMN network_identities.updated_at IS 'When the key or its details last changed; a report that changes nothing moves last_reported_at only.';
CREATE UNIQUE INDEX network_identities_identifier_key ON network_identities (service, identifier);
