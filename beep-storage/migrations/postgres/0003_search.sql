-- Transcripts and their full-text index.

CREATE TABLE documents (
    -- The log position of the transcript.
    seq          bigint PRIMARY KEY,
    -- Milliseconds; the bits of a u64.
    start        bigint NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    author       text NOT NULL,
    device       text NOT NULL,
    text         text NOT NULL,
    -- The words as they are compared, in their order, with one space before and behind each: a phrase is a piece of it.
    folded       text COLLATE "C" NOT NULL,
    -- The same words without places: of those a tsvector forgets all behind the 16,383rd, and more than 256 of one word.
    words        tsvector NOT NULL,
    CONSTRAINT documents_place_key UNIQUE (conversation, start)
);

-- The newest of a conversation first.
CREATE INDEX documents_by_conversation ON documents (conversation, seq);

-- Without a list of what is still to be put in: every search would read through it.
CREATE INDEX documents_by_word ON documents USING gin (words) WITH (fastupdate = off);

-- How common a word is decides how it is looked for.
ALTER TABLE documents ALTER COLUMN words SET STATISTICS 300;
