-- Which devices should run which firmware, and each device's way there.

CREATE TABLE deployment_groups (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    product_id uuid NOT NULL REFERENCES products (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100 AND name = btrim(name) AND name !~ '[/[:cntrl:]]'),
    state text NOT NULL DEFAULT 'off' CHECK (state IN ('off', 'on')),
    tags text[] NOT NULL DEFAULT '{}',
    tag_operator text NOT NULL DEFAULT 'and' CHECK (tag_operator IN ('and', 'or')),
    version_requirement text NOT NULL DEFAULT '' CHECK (length(version_requirement) <= 200),
    concurrent_updates integer NOT NULL DEFAULT 10 CHECK (concurrent_updates BETWEEN 1 AND 100000),
    penalty_seconds integer NOT NULL DEFAULT 86400 CHECK (penalty_seconds BETWEEN 0 AND 31536000),
    notes text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE deployment_groups IS 'Names the devices that should run a release, and how fast. Its row is the lock of its rollout. Owner: deployments.';
CREATE UNIQUE INDEX deployment_groups_name_key ON deployment_groups (product_id, lower(name));
CREATE INDEX deployment_groups_org_id_idx ON deployment_groups (org_id);

CREATE TABLE releases (
    id uuid PRIMARY KEY,
    group_id uuid NOT NULL REFERENCES deployment_groups (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    firmware_id uuid NOT NULL REFERENCES firmwares (id),
    created_by uuid REFERENCES users (id),
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE releases IS 'The firmware of a group over time; the one with the highest number is current. Owner: deployments.';
CREATE UNIQUE INDEX releases_number_key ON releases (group_id, number);
CREATE INDEX releases_firmware_id_idx ON releases (firmware_id);
CREATE INDEX releases_created_by_idx ON releases (created_by);

CREATE TABLE deployment_members (
    device_id uuid PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    group_id uuid NOT NULL REFERENCES deployment_groups (id) ON DELETE CASCADE,
    since timestamptz NOT NULL
);
COMMENT ON TABLE deployment_members IS 'The one group that a device belongs to. Owner: deployments.';
CREATE INDEX deployment_members_group_id_idx ON deployment_members (group_id);

CREATE TABLE updates (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    product_id uuid NOT NULL REFERENCES products (id),
    device_id uuid NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    group_id uuid REFERENCES deployment_groups (id) ON DELETE SET NULL,
    release_id uuid REFERENCES releases (id) ON DELETE SET NULL,
    firmware_id uuid NOT NULL REFERENCES firmwares (id) ON DELETE CASCADE,
    from_version text,
    attempts smallint NOT NULL DEFAULT 0,
    status text NOT NULL CHECK (status IN ('assigned', 'told', 'received', 'started', 'downloading', 'updating', 'completed',
        'succeeded', 'failed', 'ignored', 'rescheduled', 'withdrawn')),
    percent smallint CHECK (percent BETWEEN 0 AND 100),
    reason text,
    assigned_at timestamptz NOT NULL,
    told_at timestamptz,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((ended_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'ignored', 'rescheduled', 'withdrawn')))
) WITH (fillfactor = 70);
COMMENT ON COLUMN updates.attempts IS 'How often the device was told: again after each link that it lost before it was done.';
COMMENT ON TABLE updates IS 'One device''s way to one release. A row that has not ended is a slot of its group''s limit. Owner: deployments.';
CREATE UNIQUE INDEX updates_in_flight_key ON updates (device_id) WHERE ended_at IS NULL;
CREATE INDEX updates_device_id_idx ON updates (device_id, id);
CREATE INDEX updates_group_id_idx ON updates (group_id, status);
CREATE INDEX updates_release_id_idx ON updates (release_id);
CREATE INDEX updates_firmware_id_idx ON updates (firmware_id);
CREATE INDEX updates_product_id_idx ON updates (product_id, id);
CREATE INDEX updates_org_id_idx ON updates (org_id);
