-- A stand-in for the feed's tables.
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id uuid, vault_id uuid, body bytea NOT NULL);
CREATE TABLE data_keys (tenant_id uuid NOT NULL, vault_id uuid PRIMARY KEY, key_id uuid NOT NULL, bytes bytea NOT NULL);
CREATE TABLE gateways (id uuid PRIMARY KEY);
GRANT SELECT, INSERT ON outbox, data_keys, gateways TO sortie_app, sortie_system;
