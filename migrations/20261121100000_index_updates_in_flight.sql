-- The status of an update changes with every report. As long as an index holds it, each change writes all of the table's
-- indexes anew; without one, Postgres changes the row in place (HOT).
DROP INDEX updates_group_id_idx;
CREATE INDEX updates_group_id_idx ON updates (group_id);
CREATE INDEX updates_in_flight_group_id_idx ON updates (group_id) WHERE ended_at IS NULL;
