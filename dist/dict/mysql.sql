-- Tables of a sharing dictionary at MySQL or MariaDB, for the maps of dict-sql.conf.
-- Names are bytes: other columns would take bob, Bob and "bob " for one user.
CREATE TABLE user_shares (
  from_user varbinary(1000) NOT NULL,
  to_user   varbinary(1000) NOT NULL,
  dummy     char(1) NOT NULL DEFAULT '1',
  PRIMARY KEY (from_user, to_user),
  KEY user_shares_to (to_user)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE group_shares (
  from_user varbinary(1000) NOT NULL,
  to_group  varbinary(1000) NOT NULL,
  dummy     char(1) NOT NULL DEFAULT '1',
  PRIMARY KEY (from_user, to_group),
  KEY group_shares_to (to_group)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE anyone_shares (
  from_user varbinary(1000) NOT NULL PRIMARY KEY,
  dummy     char(1) NOT NULL DEFAULT '1'
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE roost_owners (
  owner varbinary(1000) NOT NULL PRIMARY KEY,
  value blob NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE roost_boxes (
  owner   varbinary(1000) NOT NULL,
  mailbox varbinary(2000) NOT NULL,
  acl     mediumblob NOT NULL,
  PRIMARY KEY (owner, mailbox)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
