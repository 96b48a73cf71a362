-- Bites, what belongs to them, the ordered log and the workers' cursors.
--
-- Times and starts are unsigned; they stand here with 2^63 taken off, so that their order is the column's order.
-- Labels: 1 bite, 2 user, 3 transcription. What `sum` and `seal` cover is told in src/postgres/bites/rows.rs.

-- The bytes of records that are not in an object store. Apart from `bites`, so that they are written before the log is
-- locked and lists do not read past them. Sound does not compress: EXTERNAL spares the attempt.
CREATE TABLE bite_bodies (
    id bigint PRIMARY KEY,
    bytes bytea NOT NULL
);
ALTER TABLE bite_bodies ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE SEQUENCE bite_bodies_id OWNED BY bite_bodies.id CACHE 64;

CREATE TABLE bites (
    label smallint NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    author text NOT NULL,
    device text NOT NULL,
    media_type text NOT NULL,
    duration_ms bigint,
    bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    sum bigint NOT NULL,
    seal bigint NOT NULL,
    received bigint NOT NULL,
    inline bigint,
    object text COLLATE "C",
    PRIMARY KEY (label, conversation, start)
);
-- What the sweeper of the object store asks for.
CREATE INDEX bites_object ON bites (object) WHERE object IS NOT NULL;

CREATE TABLE bite_log (
    seq bigint PRIMARY KEY,
    at bigint NOT NULL,
    kind smallint NOT NULL, -- 1 stored, 2 deleted, 3 failed
    label smallint NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    author text NOT NULL,
    device text NOT NULL,
    reason text,
    -- Which item of which batch of which writer this was: how a writer whose connection broke learns what came of it.
    writer bigint NOT NULL,
    batch bigint NOT NULL,
    item integer NOT NULL
);

-- The number of the last entry. Whoever appends locks this row until the commit: numbers are dense and in its order.
CREATE TABLE bite_log_tail (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL
);
INSERT INTO bite_log_tail (last) VALUES (0);

-- The last batch of each process that ever wrote. A batch runs only while its number is higher than this one.
CREATE TABLE bite_writers (
    writer bigint PRIMARY KEY,
    batch bigint NOT NULL
);

-- Names of puts, for 24 hours.
CREATE TABLE bite_names (
    name bytea PRIMARY KEY,
    received bigint NOT NULL,
    sha256 bytea NOT NULL,
    label smallint NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    start bigint NOT NULL
);
CREATE INDEX bite_names_received ON bite_names (received);

CREATE TABLE bite_cursors (
    name text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL
);

CREATE TABLE bites_parked (
    conversation text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    reason text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (conversation, start)
);

-- The first free start from here on; null at the end of time.
CREATE FUNCTION bite_free_start(a_label smallint, a_conversation text, a_from bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    taken bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM bites b
                   WHERE b.label = a_label AND b.conversation = a_conversation AND b.start = a_from) THEN
        RETURN a_from;
    END IF;
    SELECT run.start INTO taken
    FROM (SELECT b.start, lead(b.start) OVER (ORDER BY b.start) AS following
          FROM bites b
          WHERE b.label = a_label AND b.conversation = a_conversation AND b.start >= a_from) run
    WHERE run.following IS NULL OR run.following - 1 <> run.start
    ORDER BY run.start LIMIT 1;
    RETURN CASE WHEN taken < 9223372036854775807 THEN taken + 1 END;
END
$$;

-- Writes one batch. As one call it is one round trip and one commit, and no client can stall while it holds the lock.
--
-- The arrays hold one value per item. Kinds: 1 put exactly there, 2 put at the first free start from there on,
-- 3 delete, 4 park. Items of one wave do not touch each other's places, so a wave is one statement; waves follow each
-- other. Answers each item with what came of it: 0 done, 1 nothing to do, 2 another record stands there, 3 the name was
-- used for other bytes, 4 no such bite, 5 no free start.
CREATE FUNCTION bite_write(
    a_writer bigint, a_batch bigint, a_waves integer, a_wave integer[], a_kind smallint[], a_label smallint[],
    a_conversation text[], a_start bigint[], a_author text[], a_device text[], a_text text[], a_duration_ms bigint[],
    a_bytes bigint[], a_sha256 bytea[], a_sum bigint[], a_seal bigint[], a_at bigint[], a_name bytea[],
    a_name_from bigint[], a_name_to bigint[], a_body bytea[], a_object text[], a_group text[], a_seq bigint[]
) RETURNS TABLE (
    o_item integer, o_outcome integer, o_label smallint, o_conversation text, o_start bigint, o_author text,
    o_device text, o_seq bigint, o_objects text[]
)
LANGUAGE plpgsql
-- Plans are made once per connection, when the tables may be empty: only those that stay good when they are not.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    inlines bigint[];
    unused bigint[] := '{}';
    before bigint;
    tail bigint;
    done record;
    others boolean := a_kind && '{3,4}'::smallint[];
BEGIN
    UPDATE bite_writers SET batch = a_batch WHERE writer = a_writer AND batch < a_batch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this batch was given up' USING ERRCODE = 'BE001';
    END IF;

    -- Before the lock: bytes are most of the work, and have places that nobody else wants.
    SELECT array_agg(CASE WHEN b.bytes IS NOT NULL THEN nextval('bite_bodies_id') END ORDER BY b.item)
    INTO inlines FROM unnest(a_body) WITH ORDINALITY AS b (bytes, item);
    INSERT INTO bite_bodies (id, bytes)
    SELECT b.id, b.bytes FROM unnest(inlines, a_body) AS b (id, bytes) WHERE b.id IS NOT NULL;

    IF cardinality(a_wave) > 0 THEN
        SELECT last INTO STRICT before FROM bite_log_tail WHERE one FOR UPDATE;
        tail := before;
    END IF;

    FOR a_wave_now IN 1..a_waves LOOP
        FOR done IN
            WITH decided AS MATERIALIZED (
                SELECT i.*, q.place, named.label AS n_label, named.conversation AS n_conversation,
                    named.start AS n_start,
                    CASE i.label WHEN 1 THEN i.author ELSE bite.author END AS owner,
                    CASE i.label WHEN 1 THEN i.device ELSE bite.device END AS owner_device,
                    CASE
                        WHEN named.sha256 = i.sha256 THEN 1
                        WHEN named.sha256 IS NOT NULL THEN 3
                        WHEN q.place IS NULL THEN 5
                        WHEN i.label <> 1 AND bite.author IS NULL THEN 4
                        WHEN there.sha256 = i.sha256 AND there.author = i.author AND there.device = i.device THEN 1
                        WHEN there.sha256 IS NOT NULL THEN 2
                        ELSE 0
                    END AS outcome
                FROM unnest(a_wave, a_kind, a_label, a_conversation, a_start, a_author, a_device, a_text,
                        a_duration_ms, a_bytes, a_sha256, a_sum, a_seal, a_at, a_name, a_name_from, a_name_to,
                        inlines, a_object)
                    WITH ORDINALITY AS i (wave, kind, label, conversation, start, author, device, media_type,
                        duration_ms, bytes, sha256, sum, seal, at, name, name_from, name_to, inline, object, item)
                LEFT JOIN LATERAL (
                    SELECT n.* FROM bite_names n
                    WHERE n.name = i.name AND n.received BETWEEN i.name_from AND i.name_to LIMIT 1
                ) named ON true
                CROSS JOIN LATERAL (
                    SELECT CASE
                        WHEN named.name IS NOT NULL THEN NULL
                        WHEN i.kind = 1 THEN i.start
                        ELSE bite_free_start(i.label, i.conversation, i.start)
                    END AS place OFFSET 0
                ) q
                LEFT JOIN LATERAL (
                    SELECT b.author, b.device, b.sha256 FROM bites b
                    WHERE b.label = i.label AND b.conversation = i.conversation AND b.start = q.place LIMIT 1
                ) there ON true
                LEFT JOIN LATERAL (
                    SELECT b.author, b.device FROM bites b
                    WHERE i.label <> 1 AND b.label = 1 AND b.conversation = i.conversation AND b.start = q.place
                    LIMIT 1
                ) bite ON true
                WHERE i.wave = a_wave_now AND i.kind <= 2
            ), numbered AS MATERIALIZED (
                SELECT d.*, tail + row_number() OVER (ORDER BY d.item) AS seq FROM decided d WHERE d.outcome = 0
            ), stored AS (
                INSERT INTO bites (label, conversation, start, author, device, media_type, duration_ms, bytes, sha256,
                    sum, seal, received, inline, object)
                SELECT label, conversation, place, author, device, media_type, duration_ms, bytes, sha256,
                    sum, seal, at, inline, object
                FROM numbered
            ), logged AS (
                INSERT INTO bite_log (seq, at, kind, label, conversation, start, author, device, writer, batch, item)
                SELECT seq, at, 1, label, conversation, place, owner, owner_device, a_writer, a_batch, item
                FROM numbered
            ), remembered AS (
                INSERT INTO bite_names (name, received, sha256, label, conversation, start)
                SELECT name, at, sha256, label, conversation, place FROM numbered WHERE name IS NOT NULL
                ON CONFLICT (name) DO UPDATE SET received = EXCLUDED.received, sha256 = EXCLUDED.sha256,
                    label = EXCLUDED.label, conversation = EXCLUDED.conversation, start = EXCLUDED.start
            ), unparked AS (
                DELETE FROM bites_parked p USING numbered n
                WHERE n.label = 3 AND p.conversation = n.conversation AND p.start = n.place
            )
            SELECT item, outcome, inline, NULL::bigint AS seq, coalesce(n_label, label) AS label,
                coalesce(n_conversation, conversation) AS conversation, coalesce(n_start, place) AS start,
                NULL::text AS owner, NULL::text AS owner_device
            FROM decided WHERE outcome <> 0
            UNION ALL
            SELECT item, 0, inline, seq, label, conversation, place, owner, owner_device FROM numbered
        LOOP
            IF done.outcome = 0 THEN
                tail := greatest(tail, done.seq);
            ELSIF done.inline IS NOT NULL THEN
                unused := unused || done.inline;
            END IF;
            RETURN QUERY SELECT done.item::integer, done.outcome, done.label, done.conversation, done.start,
                done.owner, done.owner_device, done.seq, NULL::text[];
        END LOOP;
        CONTINUE WHEN NOT others;
        FOR i IN 1..cardinality(a_wave) LOOP
            CONTINUE WHEN a_wave[i] <> a_wave_now OR a_kind[i] < 3;
            o_item := i;
            o_label := 1;
            o_conversation := a_conversation[i];
            o_start := a_start[i];
            o_objects := NULL;
            SELECT b.author, b.device INTO o_author, o_device FROM bites b
            WHERE b.label = 1 AND b.conversation = a_conversation[i] AND b.start = a_start[i];
            IF NOT FOUND THEN
                o_outcome := 1;
                o_seq := NULL;
                RETURN NEXT;
                CONTINUE;
            END IF;
            tail := tail + 1;
            o_outcome := 0;
            o_seq := tail;
            IF a_kind[i] = 3 THEN
                WITH gone AS (
                    DELETE FROM bites b
                    WHERE b.label IN (1, 2, 3) AND b.conversation = a_conversation[i] AND b.start = a_start[i]
                    RETURNING b.inline, b.object
                ), bodies AS (
                    DELETE FROM bite_bodies d USING gone g WHERE d.id = g.inline
                )
                SELECT array_agg(g.object) FILTER (WHERE g.object IS NOT NULL) INTO o_objects FROM gone g;
                DELETE FROM bites_parked p WHERE p.conversation = a_conversation[i] AND p.start = a_start[i];
            ELSE
                INSERT INTO bites_parked (conversation, start, reason, at)
                VALUES (a_conversation[i], a_start[i], a_text[i], a_at[i])
                ON CONFLICT (conversation, start) DO UPDATE SET reason = EXCLUDED.reason, at = EXCLUDED.at;
            END IF;
            INSERT INTO bite_log (seq, at, kind, label, conversation, start, author, device, reason, writer, batch,
                item)
            VALUES (tail, a_at[i], a_kind[i] - 1, 1, a_conversation[i], a_start[i], o_author, o_device,
                CASE a_kind[i] WHEN 4 THEN a_text[i] END, a_writer, a_batch, i);
            RETURN NEXT;
        END LOOP;
    END LOOP;

    IF tail > before THEN
        UPDATE bite_log_tail SET last = tail WHERE one;
    END IF;
    IF cardinality(unused) > 0 THEN
        DELETE FROM bite_bodies WHERE id = ANY (unused);
    END IF;
    INSERT INTO bite_cursors (name, seq)
    SELECT c.name, c.seq FROM unnest(a_group, a_seq) AS c (name, seq) ORDER BY c.name
    ON CONFLICT (name) DO UPDATE SET seq = greatest(bite_cursors.seq, EXCLUDED.seq);
END
$$;

-- Makes sure that this batch is over: it has committed, or never will. Waits for one that still runs.
CREATE FUNCTION bite_fence(a_writer bigint, a_batch bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO bite_writers (writer, batch) VALUES (a_writer, a_batch)
    ON CONFLICT (writer) DO UPDATE SET batch = greatest(bite_writers.batch, EXCLUDED.batch);
$$;
