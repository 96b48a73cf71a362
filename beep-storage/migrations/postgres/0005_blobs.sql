-- Pictures and other small files by name: their bytes stand in the row, or among the bodies under a name of their own.
CREATE TABLE blobs (
    name       text COLLATE "C" PRIMARY KEY,
    owner      text COLLATE "C" NOT NULL,
    media_type text   NOT NULL,
    received   bigint NOT NULL,
    bytes      bigint NOT NULL,
    sha256     bytea  NOT NULL,
    content    bytea,
    object     text COLLATE "C",
    CHECK ((content IS NULL) <> (object IS NULL))
);
CREATE INDEX blobs_owner ON blobs (owner, name);
-- Whether a body is named is asked for thousands at a time.
CREATE UNIQUE INDEX blobs_object ON blobs (object) WHERE object IS NOT NULL;
