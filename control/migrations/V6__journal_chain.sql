-- The chain over a node's records, what does not fit it, and a shorter way for records into the audit log.

ALTER TABLE journal_cursors
    -- The chain's head behind `sequence`. NULL where it is not known: an older node, or a gap since the last mark.
    ADD COLUMN head            bytea,
    -- Up to where the records are known to be those that the node wrote.
    ADD COLUMN verified        bigint NOT NULL DEFAULT 0,
    -- What the node has announced and has not shipped yet.
    ADD COLUMN marked_sequence bigint,
    ADD COLUMN marked_head     bytea;

-- Records that are missing, or are not those that were written.
CREATE TABLE journal_alarms (
    id             uuid        PRIMARY KEY,
    gateway_id     uuid        NOT NULL REFERENCES gateways,
    boot_id        uuid        NOT NULL,
    lane           integer     NOT NULL,
    kind           text        NOT NULL,
    first_sequence bigint      NOT NULL,
    last_sequence  bigint      NOT NULL,
    raised_at      timestamptz NOT NULL DEFAULT now(),
    -- A call that is sent again raises none twice.
    UNIQUE (gateway_id, boot_id, lane, kind, first_sequence, last_sequence)
);
GRANT SELECT, INSERT, DELETE ON journal_alarms TO sortie_system;

-- Ingest writes to the day's partitions themselves: COPY does not write to a table under row-level security, and a
-- second copy of each row costs as much as the first. Tenants have no right on a partition.
CREATE OR REPLACE FUNCTION make_audit_partitions(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    parent text;
    part   text;
BEGIN
    -- Replicas start together; IF NOT EXISTS does not wait for the other's transaction. An arbitrary constant.
    PERFORM pg_advisory_xact_lock(32492159691744516);
    FOREACH parent IN ARRAY ARRAY['audit_uses', 'audit_completions'] LOOP
        part := parent || '_' || to_char(day, 'YYYYMMDD');
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            part, parent, day, day + 1);
        EXECUTE format('GRANT INSERT ON %I TO sortie_system', part);
    END LOOP;
END $$;

DO $$
DECLARE part regclass;
BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits
        WHERE inhparent IN ('audit_uses'::regclass, 'audit_completions'::regclass) LOOP
        EXECUTE format('GRANT INSERT ON %s TO sortie_system', part);
    END LOOP;
END $$;
