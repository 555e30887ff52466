-- What each process of a gateway enforces: while one is upgraded, two of them serve, and they may follow different
-- replicas. And what upkeep finds old alarms by.

CREATE TABLE gateway_processes (
    gateway_id         uuid        NOT NULL REFERENCES gateways,
    -- As the process says it; no more is known of it than that another process has another one.
    boot_id            bytea       NOT NULL,
    acknowledged_epoch bigint      NOT NULL,
    acknowledged_n     bigint      NOT NULL,
    last_seen_at       timestamptz NOT NULL,
    -- Since when its node says that it is gone. A replica that has not noticed yet writes the row still.
    ended_at           timestamptz,
    PRIMARY KEY (gateway_id, boot_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_processes TO sortie_system;

CREATE INDEX journal_alarms_by_age ON journal_alarms (raised_at);
