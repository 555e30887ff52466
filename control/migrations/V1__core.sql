-- Tenants and what they hold.
CREATE TABLE tenants (
    id uuid PRIMARY KEY, name text NOT NULL UNIQUE, version bigint NOT NULL DEFAULT 1,
    generation bigint NOT NULL DEFAULT 0, enabled bool NOT NULL DEFAULT true,
    private_allow text[] NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE vaults (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, name text NOT NULL, version bigint NOT NULL DEFAULT 1,
    generation bigint NOT NULL DEFAULT 0, enabled bool NOT NULL DEFAULT true, mode text NOT NULL DEFAULT 'deny',
    staleness_seconds int NOT NULL DEFAULT 900, durable bool NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE services (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, vault_id uuid NOT NULL, name text NOT NULL,
    version bigint NOT NULL DEFAULT 1, enabled bool NOT NULL DEFAULT true, spec bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE credentials (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, vault_id uuid NOT NULL, name text NOT NULL,
    placeholder text NOT NULL, version int NOT NULL, key_id uuid NOT NULL, key_version int NOT NULL,
    nonce bytea NOT NULL, ciphertext bytea NOT NULL, destinations jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE agents (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, name text NOT NULL, delegate bool NOT NULL DEFAULT false,
    generation bigint NOT NULL DEFAULT 0, key_hash bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE grants (
    tenant_id uuid NOT NULL, vault_id uuid NOT NULL, agent_id uuid NOT NULL, role text NOT NULL,
    expires_at timestamptz, version bigint NOT NULL DEFAULT 1, PRIMARY KEY (vault_id, agent_id));
CREATE TABLE api_keys (
    id uuid PRIMARY KEY, tenant_id uuid, name text NOT NULL, role text NOT NULL, hash bytea NOT NULL UNIQUE,
    last_four text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE sessions (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, agent_id uuid NOT NULL, vaults uuid[] NOT NULL, user_name text,
    labels jsonb NOT NULL DEFAULT '{}', parent uuid, source_cidr text, scope uuid[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL, revoked_at timestamptz);
CREATE TABLE audit_acts (
    id uuid PRIMARY KEY, tenant_id uuid, at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL,
    action text NOT NULL, subject text NOT NULL, vault_id uuid, session_id uuid, agent_id uuid,
    detail jsonb NOT NULL DEFAULT '{}');
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['vaults', 'services', 'credentials', 'agents', 'grants', 'api_keys', 'sessions', 'audit_acts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I TO sortie_app USING (tenant_id = '
            'NULLIF(current_setting(''sortie.tenant'', true), '''')::uuid)', name);
        EXECUTE format('CREATE POLICY everything ON %I TO sortie_system USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants, vaults, services, credentials, agents, grants, api_keys, sessions, audit_acts
    TO sortie_app, sortie_system;
