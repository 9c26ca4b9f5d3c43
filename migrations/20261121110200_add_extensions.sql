-- Which extensions devices may use, and the code that they run at each connect.

ALTER TABLE products ADD COLUMN extensions text[] NOT NULL DEFAULT '{}'
    CHECK (extensions <@ ARRAY['health', 'geo', 'local_shell', 'logging', 'network_identity']);
COMMENT ON COLUMN products.extensions IS 'Extensions that the product''s devices may use.';
ALTER TABLE devices ADD COLUMN extensions_off text[] NOT NULL DEFAULT '{}'
    CHECK (extensions_off <@ ARRAY['health', 'geo', 'local_shell', 'logging', 'network_identity']);
COMMENT ON COLUMN devices.extensions_off IS 'Extensions that this device may not use, though its product''s may.';
ALTER TABLE devices ADD COLUMN connecting_code text NOT NULL DEFAULT '' CHECK (length(connecting_code) <= 20000);
COMMENT ON COLUMN devices.connecting_code IS 'What the device runs at each connect, after its group''s.';
ALTER TABLE deployment_groups ADD COLUMN connecting_code text NOT NULL DEFAULT '' CHECK (length(connecting_code) <= 20000);
COMMENT ON COLUMN deployment_groups.connecting_code IS 'What devices of the group run at each connect.';
