-- Limits, as gateways get them (sortie.v1.Limits); NULL is none. A service's are in its specification.

ALTER TABLE tenants ADD COLUMN limits bytea;
-- Its part of an overloaded gateway, relative to other tenants'.
ALTER TABLE tenants ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000);
-- `session_limits` is for each session: of the vault, or of the agent.
ALTER TABLE vaults ADD COLUMN limits bytea, ADD COLUMN session_limits bytea;
ALTER TABLE agents ADD COLUMN limits bytea, ADD COLUMN session_limits bytea;
