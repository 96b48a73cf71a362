-- Who there is and what they share. Rows point at each other by numbers; the text ids stand once, in `users` and
-- `conversations`. COLLATE "C": ids are compared and ordered by their bytes, whatever language the database speaks.

CREATE TABLE users (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text COLLATE "C" NOT NULL CONSTRAINT users_id_key UNIQUE,
    username     text,
    -- The name as it is compared: case folded, and its digest if it is long. Without a name NULL, which UNIQUE allows any
    -- number of times.
    username_key text COLLATE "C" CONSTRAINT users_username_key UNIQUE,
    bio          text NOT NULL DEFAULT '',
    profile_pic  text NOT NULL DEFAULT '',
    first_name   text NOT NULL,
    last_name    text NOT NULL,
    phone_number text NOT NULL,
    -- The number as it is compared: itself, or its digest if it is long.
    phone_key    text COLLATE "C" NOT NULL CONSTRAINT users_phone_number_key UNIQUE
);

CREATE TABLE conversations (
    key     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      text COLLATE "C" NOT NULL CONSTRAINT conversations_id_key UNIQUE,
    title   text NOT NULL,
    picture text NOT NULL
);

-- Room on each page, because how far somebody has listened changes often.
CREATE TABLE members (
    conversation bigint NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    member       bigint NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    -- Milliseconds; the bits of a u64.
    last_heard   bigint NOT NULL DEFAULT 0,
    -- 0 listener, 1 member, 2 admin, 3 owner.
    role         smallint NOT NULL CHECK (role BETWEEN 0 AND 3),
    pinned       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (conversation, member)
) WITH (fillfactor = 85);

CREATE INDEX members_by_member ON members (member, conversation);

CREATE TABLE contacts (
    owner   bigint NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    contact bigint NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    PRIMARY KEY (owner, contact)
);

CREATE INDEX contacts_by_contact ON contacts (contact, owner);

-- The devices that people signed in on: one session each.
CREATE TABLE sessions (
    owner     bigint NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    device    text COLLATE "C" NOT NULL,
    id        text COLLATE "C" NOT NULL CONSTRAINT sessions_id_key UNIQUE,
    -- SHA-256 of the refresh token.
    refresh   bytea NOT NULL CHECK (length(refresh) = 32),
    -- Milliseconds; the bits of a u64.
    created   bigint NOT NULL,
    refreshed bigint NOT NULL,
    expires   bigint NOT NULL,
    PRIMARY KEY (owner, device)
) WITH (fillfactor = 85);

-- The ids of users who went, so that no token of theirs becomes good again.
CREATE TABLE deleted_users (
    id text COLLATE "C" PRIMARY KEY
);

-- What changed, numbered in commit order and without gaps.
CREATE TABLE changes (
    seq  bigint PRIMARY KEY,
    -- 0 user a, 1 conversation a, 2 member b of conversation a, 3 contact b of user a,
    -- 4 session of user a on device b.
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 4),
    a    text NOT NULL,
    b    text NOT NULL
);

-- The last number. Whoever takes one holds this row until the commit, so the next one is taken after it.
CREATE TABLE last_change (
    is_last boolean PRIMARY KEY DEFAULT true CHECK (is_last),
    seq     bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO last_change (seq) VALUES (0);
