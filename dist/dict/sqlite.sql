-- Tables of a sharing dictionary in an SQLite file, for the maps of dict-sql.conf:
--   sqlite3 /var/lib/roost/dict.db < sqlite.sql
PRAGMA journal_mode = WAL;

CREATE TABLE user_shares (
  from_user text NOT NULL,
  to_user   text NOT NULL,
  dummy     text NOT NULL DEFAULT '1',
  PRIMARY KEY (from_user, to_user)
);
CREATE INDEX user_shares_to ON user_shares (to_user);

CREATE TABLE group_shares (
  from_user text NOT NULL,
  to_group  text NOT NULL,
  dummy     text NOT NULL DEFAULT '1',
  PRIMARY KEY (from_user, to_group)
);
CREATE INDEX group_shares_to ON group_shares (to_group);

CREATE TABLE anyone_shares (
  from_user text NOT NULL PRIMARY KEY,
  dummy     text NOT NULL DEFAULT '1'
);

CREATE TABLE roost_owners (
  owner text NOT NULL PRIMARY KEY,
  value text NOT NULL
);

CREATE TABLE roost_boxes (
  owner   text NOT NULL,
  mailbox text NOT NULL,
  acl     text NOT NULL,
  PRIMARY KEY (owner, mailbox)
);
