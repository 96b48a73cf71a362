-- Transcripts and their full-text index, kept in step by triggers: one change is one transaction over both.

-- Conversations by small integers: `k` and the number is the one token that ties a document to its conversation.
CREATE TABLE scopes (
    key          INTEGER PRIMARY KEY,
    conversation TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE documents (
    -- The log position of the transcript.
    seq          INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL REFERENCES scopes (key),
    -- Milliseconds; the bits of a u64.
    start        INTEGER NOT NULL,
    user         TEXT NOT NULL,
    device       TEXT NOT NULL,
    text         TEXT NOT NULL,
    scope        TEXT NOT NULL GENERATED ALWAYS AS ('k' || conversation) VIRTUAL,
    UNIQUE (conversation, start)
) STRICT;

-- No ranking, hence no column sizes. The text itself stands in `documents`. Beginnings of up to four letters have lists
-- of their own, because `the*` would otherwise be put together from every list that begins so: 100 ms for a word that is
-- in a million documents, against less than 1 ms.
CREATE VIRTUAL TABLE words USING fts5 (
    scope,
    text,
    content = 'documents',
    content_rowid = 'seq',
    columnsize = 0,
    prefix = '1 2 3 4',
    tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
    INSERT INTO words (rowid, scope, text) VALUES (new.seq, new.scope, new.text);
END;

CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
    INSERT INTO words (words, rowid, scope, text) VALUES ('delete', old.seq, old.scope, old.text);
END;

CREATE TRIGGER documents_update AFTER UPDATE ON documents BEGIN
    INSERT INTO words (words, rowid, scope, text) VALUES ('delete', old.seq, old.scope, old.text);
    INSERT INTO words (rowid, scope, text) VALUES (new.seq, new.scope, new.text);
END;
