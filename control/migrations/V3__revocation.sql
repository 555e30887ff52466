-- Revocation of users, of what came from a session, of tenants and of credentials; what gateways report; and for how long
-- a vault's longer staleness may still hold. Only adds: the version before keeps running against it.

-- Rises with each revocation of a user or of what came from a session. The row is locked until the revocation commits,
-- so that a token which carries the new number was minted behind it.
ALTER TABLE tenants ADD COLUMN subjects_generation bigint NOT NULL DEFAULT 0 CHECK (subjects_generation >= 0);
-- A tenant's admins revoke; all else of the row is the operators'.
GRANT UPDATE (generation, subjects_generation, version) ON tenants TO sortie_app;

ALTER TABLE sessions
    -- What its tokens carry.
    ADD COLUMN subjects_generation bigint NOT NULL DEFAULT 0,
    -- The sessions that its parent came from, the nearest first.
    ADD COLUMN ancestors uuid[] NOT NULL DEFAULT '{}';

-- A user's entry has an id of no meaning: the text is what it is looked up by.
ALTER TABLE revocations
    ADD COLUMN user_name text CHECK ((kind <> 'user') = (user_name IS NULL)),
    DROP CONSTRAINT revocations_kind_check,
    ADD CONSTRAINT revocations_kind_check
        CHECK (kind IN ('session', 'agent', 'vault', 'tenant', 'user', 'parent', 'credential'));
CREATE UNIQUE INDEX revocations_by_user ON revocations (tenant_id, user_name) WHERE kind = 'user';

-- What is revoked is erased: its ciphertext is empty until there is a new version.
ALTER TABLE credentials ADD COLUMN revoked_at timestamptz;

-- What a gateway last reported; nothing is decided by it.
ALTER TABLE gateways
    ADD COLUMN sessions integer NOT NULL DEFAULT 0,
    ADD COLUMN connections integer NOT NULL DEFAULT 0,
    ADD COLUMN vaults integer NOT NULL DEFAULT 0,
    ADD COLUMN lease_age_millis bigint NOT NULL DEFAULT 0,
    ADD COLUMN reported_at timestamptz;

-- A gateway that has not heard of a shorter staleness serves for the longer one.
ALTER TABLE vaults
    ADD COLUMN staleness_before_seconds integer NOT NULL DEFAULT 0,
    ADD COLUMN staleness_before_until timestamptz;
