-- Tables of a sharing dictionary at PostgreSQL, for the maps of dict-sql.conf.
-- Names compare byte by byte, whatever the locale of the database.
CREATE TABLE user_shares (
  from_user varchar(1000) COLLATE "C" NOT NULL,
  to_user   varchar(1000) COLLATE "C" NOT NULL,
  dummy     char(1) NOT NULL DEFAULT '1',
  PRIMARY KEY (from_user, to_user)
);
CREATE INDEX user_shares_to ON user_shares (to_user);

CREATE TABLE group_shares (
  from_user varchar(1000) COLLATE "C" NOT NULL,
  to_group  varchar(1000) COLLATE "C" NOT NULL,
  dummy     char(1) NOT NULL DEFAULT '1',
  PRIMARY KEY (from_user, to_group)
);
CREATE INDEX group_shares_to ON group_shares (to_group);

CREATE TABLE anyone_shares (
  from_user varchar(1000) COLLATE "C" NOT NULL PRIMARY KEY,
  dummy     char(1) NOT NULL DEFAULT '1'
);

CREATE TABLE roost_owners (
  owner varchar(1000) COLLATE "C" NOT NULL PRIMARY KEY,
  value text NOT NULL
);

CREATE TABLE roost_boxes (
  owner   varchar(1000) COLLATE "C" NOT NULL,
  mailbox varchar(3000) COLLATE "C" NOT NULL,
  acl     text NOT NULL,
  PRIMARY KEY (owner, mailbox)
);

-- Tells Roost at once what Dovecot and others write.
CREATE FUNCTION roost_dict_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('roost_dict', '');
  RETURN NULL;
END $$;
CREATE TRIGGER roost_dict AFTER INSERT OR UPDATE OR DELETE ON user_shares   FOR EACH STATEMENT EXECUTE FUNCTION roost_dict_changed();
CREATE TRIGGER roost_dict AFTER INSERT OR UPDATE OR DELETE ON group_shares  FOR EACH STATEMENT EXECUTE FUNCTION roost_dict_changed();
CREATE TRIGGER roost_dict AFTER INSERT OR UPDATE OR DELETE ON anyone_shares FOR EACH STATEMENT EXECUTE FUNCTION roost_dict_changed();
