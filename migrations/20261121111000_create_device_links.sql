-- What became of links. There is no foreign key: its check would lock a row of devices for each link of a storm.
CREATE TABLE device_links (
    link_id uuid PRIMARY KEY,
    device_id uuid NOT NULL,
    node_id uuid,
    ended_at timestamptz NOT NULL,
    reason text NOT NULL CHECK (length(reason) <= 40),
    address text NOT NULL DEFAULT '' CHECK (length(address) <= 100)
);
COMMENT ON TABLE device_links IS 'Links of devices that have ended, a bounded number of each for a bounded time. Owner: devices.';
COMMENT ON COLUMN device_links.link_id IS 'UUID version 7: its time is when the link was opened.';
CREATE INDEX device_links_device_id_idx ON device_links (device_id, link_id);
