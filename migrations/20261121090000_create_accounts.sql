-- Orgs, the people in them, and how they prove who they are.

CREATE TABLE orgs (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE orgs IS 'A tenant: it owns products, keys and CA certificates. Owner: accounts.';
CREATE UNIQUE INDEX orgs_name_key ON orgs (lower(name));

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (email = lower(email) AND email LIKE '%_@_%' AND length(email) <= 254),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
COMMENT ON TABLE users IS 'A person who signs in. Owner: accounts.';
CREATE UNIQUE INDEX users_email_key ON users (email) WHERE deleted_at IS NULL;

CREATE TABLE memberships (
    org_id uuid NOT NULL REFERENCES orgs (id),
    user_id uuid NOT NULL REFERENCES users (id),
    role text NOT NULL CHECK (role IN ('view', 'manage', 'admin')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
COMMENT ON TABLE memberships IS 'Which person belongs to which org, with which role. Owner: accounts.';
CREATE INDEX memberships_user_id_idx ON memberships (user_id);

CREATE TABLE tokens (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    context text NOT NULL CHECK (context IN ('api', 'session')),
    hash bytea NOT NULL CHECK (length(hash) = 64),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 200),
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    expires_at timestamptz,
    CHECK (context = 'api' OR expires_at IS NOT NULL)
);
COMMENT ON TABLE tokens IS 'SHA-512 of each API token and browser session; the secret itself is never stored. Owner: accounts.';
CREATE UNIQUE INDEX tokens_hash_key ON tokens (context, hash);
CREATE INDEX tokens_user_id_idx ON tokens (user_id);

CREATE TABLE audit_entries (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs (id),
    at timestamptz NOT NULL,
    actor_id uuid REFERENCES users (id),
    actor_name text NOT NULL,
    action text NOT NULL,
    subject_kind text NOT NULL,
    subject_id uuid,
    subject_name text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE audit_entries IS 'Every act of an operator, written in the transaction of the act. Owner: audit.';
CREATE INDEX audit_entries_org_id_idx ON audit_entries (org_id, id);
CREATE INDEX audit_entries_subject_id_idx ON audit_entries (subject_id, id);
CREATE INDEX audit_entries_actor_id_idx ON audit_entries (actor_id);
