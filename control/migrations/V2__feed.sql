-- What gateways see and say: the order of changes, keys, gateways, the journal.
--
-- Tables with a tenant are under row-level security. `sortie_app` sees the rows of the tenant that its transaction
-- set; `sortie_system` sees all. Nobody holds grants on partitions: they would bypass the parent's policy.

-- One row: the identity of the cluster, the order's head, and what the root key seals.
CREATE TABLE cluster (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    id             uuid        NOT NULL,
    epoch          bigint      NOT NULL CHECK (epoch > 0),
    head_n         bigint      NOT NULL DEFAULT 0,
    compacted_n    bigint      NOT NULL DEFAULT 0,
    root_key_id    uuid        NOT NULL,
    canary         bytea       NOT NULL,
    pepper         bytea       NOT NULL,
    authority_cert bytea       NOT NULL,
    authority_key  bytea       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- A committed change that has no revision yet.
CREATE TABLE outbox (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid,
    vault_id  uuid,
    body      bytea NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- The total order: `n` is dense within an epoch.
CREATE TABLE changes (
    epoch     bigint NOT NULL,
    n         bigint NOT NULL,
    tenant_id uuid,
    vault_id  uuid,
    body      bytea  NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (epoch, n)
);
CREATE INDEX changes_vault ON changes (vault_id, epoch, n) WHERE vault_id IS NOT NULL;

-- What refuses tokens. `expires_at` is in seconds since the Unix epoch, as on the feed.
CREATE TABLE revocations (
    tenant_id  uuid   NOT NULL,
    kind       text   NOT NULL CHECK (kind IN ('session', 'agent', 'vault', 'tenant')),
    subject_id uuid   NOT NULL,
    generation bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, kind, subject_id)
);
CREATE INDEX revocations_expiry ON revocations (expires_at);

-- One row a replica, updated each second.
CREATE TABLE beats (
    replica_id uuid        PRIMARY KEY,
    number     bigint      NOT NULL,
    at         timestamptz NOT NULL
);

CREATE TABLE tenant_keys (
    tenant_id  uuid    NOT NULL,
    key_id     uuid    NOT NULL,
    version    integer NOT NULL,
    sealed     bytea   NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key_id, version)
);

CREATE TABLE data_keys (
    tenant_id  uuid    NOT NULL,
    vault_id   uuid    NOT NULL,
    key_id     uuid    NOT NULL,
    version    integer NOT NULL,
    sealed     bytea   NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (vault_id, key_id, version),
    -- A deleted vault's key goes with it: what was sealed with it stays sealed, in backups too.
    FOREIGN KEY (tenant_id, vault_id) REFERENCES vaults (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX data_keys_tenant ON data_keys (tenant_id);

CREATE TABLE signing_keys (
    kid        text   PRIMARY KEY,
    public_key bytea  NOT NULL,
    sealed     bytea  NOT NULL,
    not_after  bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenant_authorities (
    tenant_id   uuid  PRIMARY KEY,
    certificate bytea NOT NULL,
    not_after   bigint NOT NULL,
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateways (
    id                 uuid        PRIMARY KEY,
    name               text        NOT NULL,
    version            text        NOT NULL DEFAULT '',
    acknowledged_epoch bigint      NOT NULL DEFAULT 0,
    acknowledged_n     bigint      NOT NULL DEFAULT 0,
    last_seen_at       timestamptz,
    locked_at          timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now()
);

-- One-time tokens; only a keyed hash is kept.
CREATE TABLE join_tokens (
    hash       bytea       PRIMARY KEY,
    name       text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    gateway_id uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Which node holds which vault, by which session, until when (seconds since the Unix epoch).
CREATE TABLE vault_releases (
    gateway_id  uuid        NOT NULL REFERENCES gateways,
    vault_id    uuid        NOT NULL,
    tenant_id   uuid        NOT NULL,
    session_id  uuid        NOT NULL,
    expires_at  bigint      NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, vault_id)
);
CREATE INDEX vault_releases_tenant ON vault_releases (gateway_id, tenant_id);

-- Up to where each lane of each boot is committed.
CREATE TABLE journal_cursors (
    gateway_id uuid    NOT NULL REFERENCES gateways,
    boot_id    uuid    NOT NULL,
    lane       integer NOT NULL,
    sequence   bigint  NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, boot_id, lane)
);

-- Partitioned by arrival, so that a wrong clock poisons nothing. `at` is the node's clock, within bounds around the
-- arrival.
CREATE TABLE audit_uses (
    arrived_on  date        NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    decision_id uuid        NOT NULL,
    at          timestamptz NOT NULL,
    tenant_id   uuid        NOT NULL,
    vault_id    uuid        NOT NULL,
    session_id  uuid        NOT NULL,
    agent_id    uuid        NOT NULL,
    user_name   text        NOT NULL,
    labels      jsonb       NOT NULL,
    service     text        NOT NULL,
    credentials jsonb       NOT NULL,
    method      text        NOT NULL,
    url         text        NOT NULL,
    outcome     smallint    NOT NULL,
    code        text        NOT NULL,
    source      text        NOT NULL,
    gateway_id  uuid        NOT NULL,
    boot_id     uuid        NOT NULL,
    lane        integer     NOT NULL,
    sequence    bigint      NOT NULL
) PARTITION BY RANGE (arrived_on);
CREATE INDEX audit_uses_vault ON audit_uses (tenant_id, vault_id, at);
CREATE INDEX audit_uses_decision ON audit_uses (decision_id);

CREATE TABLE audit_completions (
    arrived_on      date        NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    decision_id     uuid        NOT NULL,
    at              timestamptz NOT NULL,
    tenant_id       uuid        NOT NULL,
    status          integer     NOT NULL,
    request_bytes   bigint      NOT NULL,
    response_bytes  bigint      NOT NULL,
    duration_micros bigint      NOT NULL,
    upstream_micros bigint      NOT NULL,
    code            text        NOT NULL,
    redactions      integer     NOT NULL,
    gateway_id      uuid        NOT NULL,
    boot_id         uuid        NOT NULL
) PARTITION BY RANGE (arrived_on);
CREATE INDEX audit_completions_decision ON audit_completions (decision_id);

-- Records that mean nothing, kept as they came.
CREATE TABLE quarantine (
    gateway_id uuid        NOT NULL,
    boot_id    uuid        NOT NULL,
    lane       integer     NOT NULL,
    sequence   bigint      NOT NULL,
    reason     text        NOT NULL,
    body       bytea       NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, boot_id, lane, sequence)
);

-- Row-level security.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['outbox', 'revocations', 'tenant_keys', 'data_keys', 'tenant_authorities',
                                'vault_releases', 'audit_uses', 'audit_completions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I TO sortie_app USING (tenant_id = '
            'NULLIF(current_setting(''sortie.tenant'', true), '''')::uuid)', name);
        EXECUTE format('CREATE POLICY everything ON %I TO sortie_system USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON cluster, outbox, changes, revocations, beats, tenant_keys, data_keys,
    signing_keys, tenant_authorities, gateways, join_tokens, vault_releases, journal_cursors, audit_uses,
    audit_completions, quarantine TO sortie_system;
GRANT INSERT ON outbox TO sortie_app;
GRANT SELECT, INSERT, UPDATE ON revocations TO sortie_app;
GRANT SELECT, INSERT, DELETE ON tenant_keys, data_keys TO sortie_app;
GRANT SELECT ON tenant_authorities, audit_uses, audit_completions TO sortie_app;

-- Makes a day's partitions. Upkeep runs as sortie_system, which owns no table: the function runs as its owner.
CREATE FUNCTION make_audit_partitions(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE parent text;
BEGIN
    -- Replicas start together; IF NOT EXISTS does not wait for the other's transaction. An arbitrary constant.
    PERFORM pg_advisory_xact_lock(32492159691744516);
    FOREACH parent IN ARRAY ARRAY['audit_uses', 'audit_completions'] LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            parent || '_' || to_char(day, 'YYYYMMDD'), parent, day, day + 1);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION make_audit_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_audit_partitions TO sortie_system;
