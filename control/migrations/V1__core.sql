-- Tenants and what they own.
--
-- Two walls stand between tenants. Every statement names the tenant; and each table has row-level security, forced on
-- its owner too, so that a statement that forgets sees nothing. `sortie_app` serves one tenant a transaction,
-- `sortie_system` serves the feed, ingest, upkeep and operators. Foreign keys include the tenant: a row cannot point
-- into another one.

DO $$
BEGIN
    -- Roles belong to the whole server: several databases may create them at once.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sortie_app') THEN
        BEGIN
            CREATE ROLE sortie_app NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sortie_system') THEN
        BEGIN
            CREATE ROLE sortie_system NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO sortie_app, sortie_system', current_schema());
END
$$;

CREATE TABLE tenants (
    id            uuid PRIMARY KEY,
    name          text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version       bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    generation    bigint NOT NULL DEFAULT 0 CHECK (generation >= 0),
    enabled       boolean NOT NULL DEFAULT true,
    private_allow text[] NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE vaults (
    id                uuid NOT NULL PRIMARY KEY,
    tenant_id         uuid NOT NULL REFERENCES tenants (id),
    name              text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version           bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    generation        bigint NOT NULL DEFAULT 0 CHECK (generation >= 0),
    enabled           boolean NOT NULL DEFAULT true,
    mode              text NOT NULL CHECK (mode IN ('deny', 'observe')),
    staleness_seconds integer NOT NULL CHECK (staleness_seconds BETWEEN 30 AND 86400),
    durable           boolean NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE services (
    id         uuid NOT NULL PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    vault_id   uuid NOT NULL,
    name       text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version    bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    enabled    boolean NOT NULL,
    -- sortie.v1.Service, as gateways get it.
    spec       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (vault_id, name),
    FOREIGN KEY (tenant_id, vault_id) REFERENCES vaults (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX services_by_vault ON services (tenant_id, vault_id, id);

CREATE TABLE credentials (
    id           uuid NOT NULL PRIMARY KEY,
    tenant_id    uuid NOT NULL,
    vault_id     uuid NOT NULL,
    name         text NOT NULL CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,63}$'),
    placeholder  text NOT NULL CHECK (placeholder ~ '^[A-Za-z0-9_.~-]{4,128}$'),
    version      integer NOT NULL CHECK (version > 0),
    key_id       uuid NOT NULL,
    key_version  integer NOT NULL CHECK (key_version > 0),
    nonce        bytea NOT NULL CHECK (octet_length(nonce) = 12),
    ciphertext   bytea NOT NULL,
    -- For display. What binds is sealed in the ciphertext.
    destinations jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (vault_id, name),
    UNIQUE (vault_id, placeholder),
    FOREIGN KEY (tenant_id, vault_id) REFERENCES vaults (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX credentials_by_vault ON credentials (tenant_id, vault_id, id);

-- Versions that were replaced: still sealed, so that a rotation can be taken back.
CREATE TABLE credential_versions (
    credential_id uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    vault_id      uuid NOT NULL,
    version       integer NOT NULL CHECK (version > 0),
    key_id        uuid NOT NULL,
    key_version   integer NOT NULL,
    nonce         bytea NOT NULL,
    ciphertext    bytea NOT NULL,
    destinations  jsonb NOT NULL,
    replaced_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (credential_id, version),
    FOREIGN KEY (tenant_id, credential_id) REFERENCES credentials (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE agents (
    id         uuid NOT NULL PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    name       text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    delegate   boolean NOT NULL DEFAULT false,
    generation bigint NOT NULL DEFAULT 0 CHECK (generation >= 0),
    key_hash   bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE grants (
    tenant_id  uuid NOT NULL,
    vault_id   uuid NOT NULL,
    agent_id   uuid NOT NULL,
    role       text NOT NULL CHECK (role IN ('user', 'editor', 'admin')),
    expires_at timestamptz,
    version    bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    PRIMARY KEY (vault_id, agent_id),
    FOREIGN KEY (tenant_id, vault_id) REFERENCES vaults (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX grants_by_agent ON grants (tenant_id, agent_id);

CREATE TABLE api_keys (
    id         uuid NOT NULL PRIMARY KEY,
    -- NULL for an operator's key.
    tenant_id  uuid REFERENCES tenants (id),
    name       text NOT NULL,
    role       text NOT NULL,
    hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    last_four  text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (CASE WHEN tenant_id IS NULL THEN role = 'operator'
                ELSE role IN ('owner', 'admin', 'auditor', 'member') END)
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id);

CREATE TABLE sessions (
    id                uuid NOT NULL PRIMARY KEY,
    tenant_id         uuid NOT NULL REFERENCES tenants (id),
    -- No foreign keys: a session outlives its agent in the audit log, and minting locks no row of another table.
    agent_id          uuid NOT NULL,
    vaults            uuid[] NOT NULL CHECK (cardinality(vaults) BETWEEN 1 AND 8),
    -- The generations that the token carries: what was revoked since is not renewed.
    tenant_generation bigint NOT NULL DEFAULT 0,
    agent_generation  bigint NOT NULL DEFAULT 0,
    vault_generations bigint[] NOT NULL DEFAULT '{}',
    user_name         text,
    labels            jsonb NOT NULL DEFAULT '{}',
    parent            uuid,
    source_cidr       text,
    scope             uuid[] NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz NOT NULL,
    revoked_at        timestamptz
);
CREATE INDEX sessions_by_tenant ON sessions (tenant_id, id);
CREATE INDEX sessions_by_agent ON sessions (tenant_id, agent_id, id);

CREATE TABLE audit_acts (
    id         uuid NOT NULL PRIMARY KEY,
    -- NULL for an operator's act on the cluster.
    tenant_id  uuid,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    action     text NOT NULL,
    subject    text NOT NULL,
    vault_id   uuid,
    session_id uuid,
    agent_id   uuid,
    detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_acts_by_tenant ON audit_acts (tenant_id, at DESC, id DESC);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['vaults', 'services', 'credentials', 'credential_versions', 'agents', 'grants',
                             'api_keys', 'sessions', 'audit_acts', 'tenants'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY by_tenant ON %I TO sortie_app USING (%I = NULLIF(current_setting(''sortie.tenant'', true), '''')::uuid)',
                       t, CASE t WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END);
        EXECUTE format('CREATE POLICY whole ON %I TO sortie_system USING (true) WITH CHECK (true)', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['vaults', 'services', 'credentials', 'credential_versions', 'agents', 'grants',
                             'api_keys', 'sessions'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO sortie_app, sortie_system', t);
    END LOOP;
END
$$;

-- A tenant is made and changed by operators.
GRANT SELECT ON tenants TO sortie_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO sortie_system;
-- What was recorded is not rewritten; upkeep removes what is past its retention.
GRANT SELECT, INSERT ON audit_acts TO sortie_app;
GRANT SELECT, INSERT, DELETE ON audit_acts TO sortie_system;
