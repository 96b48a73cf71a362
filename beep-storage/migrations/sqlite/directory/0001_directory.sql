-- Who there is and what they share. Rows point at each other by small integers, so that ten million memberships
-- stay a few hundred megabytes; the text ids stand once, in `users` and `conversations`.

CREATE TABLE users (
    key          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    username     TEXT,
    -- The name as it is compared: case folded. Without a name NULL, which UNIQUE allows any number of times.
    username_key TEXT UNIQUE,
    bio          TEXT NOT NULL DEFAULT '',
    profile_pic  TEXT NOT NULL DEFAULT '',
    first_name   TEXT NOT NULL,
    last_name    TEXT NOT NULL,
    phone_number TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE conversations (
    key     INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    title   TEXT NOT NULL,
    picture TEXT NOT NULL
) STRICT;

CREATE TABLE members (
    conversation INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    user         INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    -- 0 listener, 1 member, 2 admin, 3 owner.
    role         INTEGER NOT NULL CHECK (role BETWEEN 0 AND 3),
    pinned       INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
    -- Milliseconds; the bits of a u64.
    last_heard   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user, conversation);

CREATE TABLE contacts (
    owner   INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    contact INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    PRIMARY KEY (owner, contact)
) STRICT, WITHOUT ROWID;

CREATE INDEX contacts_by_contact ON contacts (contact, owner);

-- The devices that people signed in on: one session each.
CREATE TABLE sessions (
    user      INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    device    TEXT NOT NULL,
    id        TEXT NOT NULL UNIQUE,
    -- SHA-256 of the refresh token.
    refresh   BLOB NOT NULL CHECK (length(refresh) = 32),
    -- Milliseconds; the bits of a u64.
    created   INTEGER NOT NULL,
    refreshed INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    PRIMARY KEY (user, device)
) STRICT, WITHOUT ROWID;

-- The ids of users who went, so that no token of theirs becomes good again.
CREATE TABLE deleted (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What changed, in commit order and without gaps: one writer at a time, and a rolled back number is given again.
CREATE TABLE changes (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 0 user a, 1 conversation a, 2 member b of conversation a, 3 contact b of user a,
    -- 4 session of user a on device b.
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 4),
    a    TEXT NOT NULL,
    b    TEXT NOT NULL DEFAULT ''
) STRICT;
