package config

const (
	whyQuota  = "there is one quota root, without warnings or scripts"
	whyFTS    = "there is no full-text index in this version: SEARCH reads the messages"
	whyPlugin = "the plugin it belongs to is not part of Roost"
	whyCrypt  = "mail would be kept unencrypted"
)

func pluginRows() []group {
	return []group{
		{"plugin", "plugin { }: access control lists", []Row{
			imp("acl", String, "", "vfile turns rights on, if mail_plugins has acl. vfile:PATH names a file of global rights too: a line each with a pattern of mailboxes (* and ?), an identifier and rights; they replace those of mailboxes. It is read again by roost reload.").user(),
			imp("acl_user", String, "", "The user whose rights apply; if empty the master user of the login, then the user.").
				to(func(s *Settings) any { return &s.ACL.User }).vars().user(),
			imp("acl_groups", String, "", "That user's groups, with commas between them and no spaces.").
				to(func(s *Settings) any { return &s.ACL.Groups }).vars().user(),
			imp("master_user", String, "", "The user whose rights apply, if acl_user is empty.").
				to(func(s *Settings) any { return &s.ACL.MasterUser }).vars().user(),
			imp("acl_anyone", String, "", "allow lets users give rights to anyone and authenticated.").user(),
			imp("acl_shared_dict", String, "", "Where it is kept who shares with whom: file:PATH, fs:posix:prefix=DIRECTORY, redis:host=HOST, etcd://HOST, or proxy::NAME for one of the block dict, which may be pgsql:, mysql: or sqlite: with the path of a file about its tables. With a coordinator the default is etcd:, which is the coordinator. See [dictionaries](configuration.md#dictionaries).").
				to(func(s *Settings) any { return &s.ACL.SharedDict }).vars().secret(),
			imp("acl_ignore_namespace", String, "", "Patterns of namespace prefixes where rights are not decided here; also acl_ignore_namespace2, 3 and so on.").
				series().user(),
			imp("acl_defaults_from_inbox", Bool, "no", "Mailboxes without rights of their own have INBOX's.").
				to(func(s *Settings) any { return &s.ACL.DefaultsFromInbox }).user(),
			imp("acl_globals_only", Bool, "no", "Only global rights count: those of single mailboxes are neither used nor changed.").
				to(func(s *Settings) any { return &s.ACL.GlobalsOnly }),
			imp("acl_inherit", Enum, "copy", "Where a mailbox without rights of its own has them from. copy, as in Dovecot: a new mailbox takes over those of the level above as they are then. live: it has those of the nearest level above that has some, always as they are now. Roost's own.").enum("copy", "live").
				to(func(s *Settings) any { return &s.ACL.Inherit }),
			imp("acl_auto_subscribe", Bool, "no", "Users are subscribed to what others share with them, until they unsubscribe. Roost's own.").
				to(func(s *Settings) any { return &s.ACL.AutoSubscribe }),
			imp("acl_audit_log", String, "", "A file that gets a JSON line for each change of rights, for what others than the owner do with a mailbox, and for what administrators change. See [sharing](sharing.md#who-did-what). Roost's own.").
				to(func(s *Settings) any { return &s.ACL.AuditLog }),
			imp("acl_sweep_interval", Time, "1 hours", "How often a backend compares the sharing index with the rights of its users, and mends it; 0: never. Roost's own.").
				to(func(s *Settings) any { return &s.ACL.SweepInterval }),
			imp("acl_groups_interval", Time, "1 mins", "How often the groups of users who have sessions are looked up again, besides after each change of a passwd-file and each reload; 0: only then. Roost's own.").
				to(func(s *Settings) any { return &s.ACL.GroupsInterval }),
			acc("acl_dict_index", Bool, "no", "Use the reverse index of shares.", "the sharing index is of Roost's own"),
		}},
		{"plugin", "plugin { }: other plugins", []Row{
			imp("quota", String, "", "A quota root: DRIVER[:NAME[:ARGS]]. Whatever the driver, the mail is counted. Of the arguments noenforcing and hidden are known.").user(),
			imp("quota_rule", String, "", "What mail may take: MAILBOX:LIMITS, as in *:storage=1G:messages=1000 or Trash:storage=+10%%; also quota_rule2, 3 and so on. A mailbox with ignore does not count.").
				series().user(),
			imp("quota_grace", String, "10%%", "How far the last message may go beyond the limit: bytes, or a part of it.").user(),
			imp("quota_max_mail_size", Size, "0", "How large a message may be; 0: 100 MiB, as for all.").user(),
			imp("quota_exceeded_message", String, "Quota exceeded (mailbox for user is full)", "What a client is told that has no room.").user(),
			acc("quota*", String, "", "Quota roots, rules, warnings.", whyQuota),
			acc("fts*", String, "", "Full-text search.", whyFTS),
			acc("sieve*", String, "", "Sieve.", whySieve),
			acc("imapsieve*", String, "", "Sieve at IMAP commands.", whySieve),
			acc("recipient_delimiter", String, "", "Sieve's delimiter.", whySieve),
			acc("zlib_save", String, "", "Compression of new mail.", "the store decides for itself"),
			acc("zlib_save_level", Uint, "6", "How hard mail is compressed.", "the store decides for itself"),
			acc("imap_zlib_compress_level", Uint, "6", "How hard connections are compressed.", whyPlugin),
			ref("mail_crypt*", String, "", "Encryption of mail.", whyCrypt).secret(),
			ref("fs_crypt*", String, "", "Encryption of files.", whyCrypt).secret(),
			acc("mail_log_events", List, "", "What users do that is logged.", whyLog),
			acc("mail_log_fields", List, "", "What is told about it.", whyLog),
			acc("mail_log_cached_only", Bool, "no", "Only what is cheap to know.", whyLog),
			acc("lazy_expunge*", String, "", "Where expunged mail goes.", "expunged mail is not moved to a mailbox"),
			acc("trash", String, "", "What is deleted when the quota is full.", whyQuota),
			acc("expire*", String, "", "What is deleted after some time.", "nothing is deleted on its own"),
			acc("autocreate*", String, "", "Mailboxes that exist from the start.", whyPlugin),
			acc("autosubscribe*", String, "", "Mailboxes that are subscribed from the start.", whyPlugin),
			acc("antispam*", String, "", "Training of spam filters.", whyPlugin),
			acc("listescape_char", String, "", "Escaping of names.", "names may have any character"),
			acc("last_login*", String, "", "Where the time of logins is kept.", whyPlugin),
			acc("mail_replica", String, "", "Where mail is replicated to.", whyDsync),
			acc("replication_sync_timeout", Time, "0", "How long a delivery waits for that.", whyDsync),
			acc("push_notification*", String, "", "Push notifications.", whyPlugin),
			acc("notify_status*", String, "", "Mailbox counters in a dictionary.", whyPlugin),
			acc("mail_lua*", String, "", "Lua script.", whyPlugin),
			acc("mail_filter*", String, "", "Filter of mail.", whyPlugin),
			acc("mailbox_alias_old*", String, "", "Mailbox with a second name.", whyPlugin),
			acc("mailbox_alias_new*", String, "", "That second name.", whyPlugin),
			acc("pop3_migration*", String, "", "Migration from POP3.", whyPOP3),
			acc("charset_alias*", String, "", "Other names of character sets.", whyPlugin),
			acc("apparmor_hat*", String, "", "AppArmor's confinement.", whyProcess),
			acc("welcome_script", String, "", "Script for new users.", whyPlugin),
			acc("welcome_wait", Bool, "no", "Wait for it.", whyPlugin),
			acc("old_stats*", String, "", "Old statistics.", whyStats),
			acc("stats_*", String, "", "Old statistics.", whyStats),
			acc("virtual*", String, "", "Virtual mailboxes.", whyPlugin),
			acc("mbox_snarf", String, "", "Mbox that is emptied into INBOX.", whyStore),
			acc("snarf", String, "", "Mailbox that is emptied into INBOX.", whyStore),
		}},
	}
}

// mailPlugins are the words of mail_plugins that are known; with a reason if
// Roost does not do what the plugin does.
var mailPlugins = map[string]string{
	"acl": "", "imap_acl": "", "quota": "", "imap_quota": "",
	"trash": whyQuota, "quota_clone": whyQuota,
	"fts": whyFTS, "fts_lucene": whyFTS, "fts_solr": whyFTS, "fts_squat": whyFTS, "fts_xapian": whyFTS, "fts_flatcurve": whyFTS, "fts_elastic": whyFTS,
	"sieve": whySieve, "imap_sieve": whySieve, "imap_filter_sieve": whySieve,
	"zlib": "the store decides for itself about compression", "imap_zlib": whyPlugin,
	"mail_log": whyLog, "notify": whyLog, "notify_status": whyPlugin, "push_notification": whyPlugin, "push_notification_lua": whyPlugin,
	"lazy_expunge": "expunged mail is not moved to a mailbox", "expire": whyPlugin, "autocreate": whyPlugin, "antispam": whyPlugin,
	"listescape": "names may have any character", "virtual": whyPlugin, "last_login": whyPlugin, "replication": whyDsync,
	"welcome": whyPlugin, "charset_alias": whyPlugin, "mailbox_alias": whyPlugin, "apparmor": whyProcess, "mail_lua": whyPlugin,
	"mail_filter": whyPlugin, "pop3_migration": whyPOP3, "old_stats": whyStats, "imap_old_stats": whyStats, "stats": whyStats,
	"imap_stats": whyStats, "snarf": whyStore, "var_expand_crypt": whyPlugin,
}

// refusedPlugins are the words of mail_plugins that cannot be ignored.
var refusedPlugins = map[string]string{"mail_crypt": whyCrypt, "mail_crypt_acl": whyCrypt}
