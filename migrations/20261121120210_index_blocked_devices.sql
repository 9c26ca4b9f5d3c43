-- Devices that are left alone for a time: few of many, looked for each time that one of these times may have come.
CREATE INDEX devices_updates_blocked_until_idx ON devices (updates_blocked_until) WHERE updates_blocked_until IS NOT NULL;
