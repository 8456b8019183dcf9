package config

func mailRows() []group {
	return []group{
		{"", "Mail", []Row{
			imp("mail_location", String, "", "Where a user's mail is: roost:~/mail. It is judged where a store is opened, so a director may have any.").
				to(func(s *Settings) any { return &s.Mail.Location }).vars().user(),
			imp("mail_volume", List, "", "Roost's own: the roots of the filesystems that hold mail. Each carries a marker that roost store init writes; mail outside them, or below one whose marker is not seen, is not opened.").
				to(func(s *Settings) any { return &s.Mail.Volumes }),
			imp("mail_volume_shared", Bool, "yes", "Roost's own, with cluster: whether other backends see these filesystems too. With no, users of this backend are never taken over.").
				to(func(s *Settings) any { return &s.Mail.VolumeShared }),
			imp("mail_min_free", Size, "64 M", "Roost's own: when less than this is free where mail lies, messages are refused with OVERQUOTA. Clients can still delete.").
				to(func(s *Settings) any { return &s.Mail.MinFree }),
			imp("mail_ballast", Size, "64 M", "Roost's own: the size of a file in the root of each mail_volume that is removed when the disk is full, so that clients can still delete. 0 is none.").
				to(func(s *Settings) any { return &s.Mail.Ballast }),
			imp("mail_rewrite_rate", Size, "20 M", "Roost's own: how many bytes a second are rewritten to get the room of deleted mail back.").
				to(func(s *Settings) any { return &s.Mail.RewriteRate }),
			imp("mail_expunge_keep", Time, "3 days", "Roost's own: how long roost undelete brings expunged messages back, those of deleted mailboxes too. 0 is not at all.").
				to(func(s *Settings) any { return &s.Mail.ExpungeKeep }),
			imp("mail_private_flags", List, `\Seen`, "Roost's own: the flags that each reader of others' mail has for themselves: \\Seen, \\Answered, \\Flagged, \\Draft and keywords, at most 16. What has a $ is quoted: \"\\\\Seen $Todo\". Whether they have is said by INDEXPVT, and by the annotation /shared/vendor/roost/seen of a mailbox.").
				to(func(s *Settings) any { return &s.Mail.PrivateFlags }),
			imp("mail_private_flags_keep", Time, "30 days", "Roost's own: how long a reader without access to a mailbox, or who is no user any more, keeps the flags and annotations they had for themselves there. 0 is for ever.").
				to(func(s *Settings) any { return &s.Mail.PrivateFlagsKeep }),
			imp("mail_cache_size", Size, "256 M", "Roost's own: about how much memory a backend keeps of mailboxes. Beyond it, those that no session has open and accounts that nobody uses are dropped, the ones used last come last.").
				to(func(s *Settings) any { return &s.Mail.CacheSize }),
			imp("mail_max_open_files", Uint, "0", "Roost's own: how many files of mail stay open; beyond it accounts that nobody uses are closed. 0 is a quarter of what the process may open.").
				to(func(s *Settings) any { return &s.Mail.MaxOpenFiles }),
			imp("mail_compress", String, "no", "Roost's own: zstd compresses new messages where that makes them smaller. What is there already stays as it is; both are read whatever this says.").enum("no", "zstd").
				to(func(s *Settings) any { return &s.Mail.Compress }),
			imp("mail_compress_level", Uint, "3", "Roost's own: the level of mail_compress, 1 (fast) to 22.").
				to(func(s *Settings) any { return &s.Mail.CompressLevel }),
			imp("mail_home", String, "", "The home directory of users whose userdb entry has none.").
				to(func(s *Settings) any { return &s.Mail.Home }).vars().user(),
			imp("mail_plugins", List, "", "acl turns rights on, imap_acl the commands of RFC 4314. Dovecot's other plugins give a warning, mail_crypt is refused.").
				to(func(s *Settings) any { return &s.Mail.Plugins }).user(),
			imp("mail_max_userip_connections", Uint, "10", "Sessions of one user from one address; 0 sets no limit. Master logins are not counted, and on a director the default sets no limit.").
				to(func(s *Settings) any { return &s.Mail.MaxUserIPConnections }).user(),
			acc("mail_max_keyword_length", Uint, "50", "The longest keyword, in bytes.", "it is 255 bytes").
				to(func(s *Settings) any { return &s.Mail.MaxKeywordLength }).user(),
			imp("rawlog_dir", String, "", "Directory for transcripts of sessions, one pair of files each; it must exist.").
				to(func(s *Settings) any { return &s.Mail.RawlogDir }).vars().user(),
			imp("mail_shared_explicit_inbox", Bool, "no", "no: shared/alice is alice's INBOX. yes: that is shared/alice/INBOX, and shared/alice no mailbox.").
				to(func(s *Settings) any { return &s.Mail.SharedExplicitInbox }).user(),
			ref("mail_full_filesystem_access", Bool, "no", "Let clients open any path as a mailbox.", "it goes past all rights"),
			acc("mail_debug", Bool, "no", "Log every step of opening mail.", whyLog),
			acc("mail_log_prefix", String, `%s(%u)<%{pid}><%{session}>: `, "How log lines of a session begin.", whyLog),
			acc("mail_uid", String, "", "The system user that owns mail.", whyUID),
			acc("mail_gid", String, "", "The system group that owns mail.", whyUID),
			acc("mail_access_groups", List, "", "More system groups of mail processes.", whyUID),
			acc("mail_privileged_group", String, "", "System group for creating mbox locks.", whyUID),
			acc("first_valid_uid", Uint, "500", "The lowest system user that may have mail.", whyUID),
			acc("last_valid_uid", Uint, "0", "The highest system user that may have mail.", whyUID),
			acc("first_valid_gid", Uint, "1", "The lowest system group that may have mail.", whyUID),
			acc("last_valid_gid", Uint, "0", "The highest system group that may have mail.", whyUID),
			acc("mail_chroot", String, "", "Directory that mail processes cannot leave.", whyProcess),
			acc("valid_chroot_dirs", String, "", "Directories that users may be confined to.", whyProcess),
			acc("mail_plugin_dir", String, "/usr/lib/dovecot/modules", "Directory of plugins.", "plugins are built in"),
			imp("mail_server_admin", String, "", "A URI of the administrator: the entry /shared/admin of METADATA's server.").
				to(func(s *Settings) any { return &s.Mail.ServerAdmin }),
			imp("mail_server_comment", String, "", "The entry /shared/comment of METADATA's server.").
				to(func(s *Settings) any { return &s.Mail.ServerComment }),
			acc("mail_attribute_dict", String, "", "Dictionary of METADATA entries.", "they are kept with the mail"),
			acc("mail_sort_max_read_count", Uint, "0", "How many messages SORT may read from disk.", whyStore),
			acc("mail_temp_dir", String, "/tmp", "Directory of temporary files.", whyStore),
			acc("mail_prefetch_count", Uint, "0", "How many messages are read ahead.", whyStore),
			acc("mail_save_crlf", Bool, "no", "Save messages with CR LF.", "messages are kept as they came"),
			acc("pop3_deleted_flag", String, "", "Keyword that marks mail deleted by POP3.", whyPOP3),
		}},
		{"", "Mail storage of Dovecot", storageRows()},
	}
}

func storageRows() []Row {
	return []Row{
		acc("mail_fsync", Enum, "optimized", "When written mail is synced.", "what was acknowledged is on disk, always").enum("optimized", "always", "never"),
		acc("mail_nfs_index", Bool, "no", "Indexes are on NFS.", whyStore),
		acc("mail_nfs_storage", Bool, "no", "Mail is on NFS.", whyStore),
		acc("mmap_disable", Bool, "no", "Do not map index files.", whyStore),
		acc("dotlock_use_excl", Bool, "yes", "Create lock files with O_EXCL.", whyStore),
		acc("lock_method", Enum, "fcntl", "How index files are locked.", whyStore).enum("fcntl", "flock", "dotlock"),
		acc("mail_max_lock_timeout", Time, "0", "Upper limit of all lock waits.", whyStore),
		acc("mail_cache_fields", List, "flags", "Fields that are cached from the start.", whyStore),
		acc("mail_always_cache_fields", List, "", "Fields that are always cached.", whyStore),
		acc("mail_never_cache_fields", List, "imap.envelope", "Fields that are never cached.", whyStore),
		acc("mail_cache_min_mail_count", Uint, "0", "Messages from which on a cache is kept.", whyStore),
		acc("mail_cache_max_size", Size, "1 G", "Size of a cache file.", whyStore),
		acc("mail_index_rewrite_min_log_bytes", Size, "8 k", "When an index is rewritten.", whyStore),
		acc("mail_index_rewrite_max_log_bytes", Size, "128 k", "When an index is rewritten.", whyStore),
		acc("mail_index_log_rotate_min_size", Size, "32 k", "When an index log is rotated.", whyStore),
		acc("mail_index_log_rotate_max_size", Size, "1 M", "When an index log is rotated.", whyStore),
		acc("mail_index_log_rotate_min_age", Time, "5 mins", "When an index log is rotated.", whyStore),
		acc("mail_index_log2_max_age", Time, "3 days", "How long a rotated log is kept.", whyStore),
		acc("mail_cache_unaccessed_field_drop", Time, "30 days", "When an unused field leaves the cache.", whyStore),
		acc("mail_cache_record_max_size", Size, "64 k", "Size of one cache record.", whyStore),
		acc("mail_cache_purge_delete_percentage", Uint, "20", "When a cache is purged.", whyStore),
		acc("mail_cache_purge_continued_percentage", Uint, "200", "When a cache is purged.", whyStore),
		acc("mail_cache_purge_header_continue_count", Uint, "4", "When a cache is purged.", whyStore),
		acc("mail_temp_scan_interval", Time, "1 weeks", "How often old temporary files are looked for.", whyStore),
		acc("mail_vsize_bg_after_count", Uint, "0", "When sizes are computed in the background.", whyStore),
		acc("mail_attachment_dir", String, "", "Directory of attachments kept outside of messages.", whyStore),
		acc("mail_attachment_fs", String, "sis posix", "How those attachments are kept.", whyStore),
		acc("mail_attachment_hash", String, "%{sha1}", "Hash of those attachments.", whyStore),
		acc("mail_attachment_min_size", Size, "128 k", "The smallest such attachment.", whyStore),
		acc("mail_attachment_detection_options", List, "", "Whether messages get an attachment keyword.", whyStore),
		acc("mailbox_idle_check_interval", Time, "30 secs", "How often an idle session looks for changes.", "changes reach sessions at once"),
		acc("mailbox_list_index", Bool, "yes", "Keep an index of all mailboxes.", whyStore),
		acc("mailbox_list_index_include_inbox", Bool, "no", "Keep INBOX in that index.", whyStore),
		acc("mailbox_list_index_very_dirty_syncs", Bool, "no", "Trust that index.", whyStore),
		acc("maildir_broken_filename_sizes", Bool, "no", "Do not trust sizes in file names.", whyStore),
		acc("maildir_copy_with_hardlinks", Bool, "yes", "Copy by hard links.", whyStore),
		acc("maildir_empty_new", Bool, "no", "Move mail out of new/ at once.", whyStore),
		acc("maildir_stat_dirs", Bool, "no", "Look at what may not be a directory.", whyStore),
		acc("maildir_very_dirty_syncs", Bool, "no", "Trust the index over the directory.", whyStore),
		acc("mbox_dirty_syncs", Bool, "yes", "Trust an mbox's index.", whyStore),
		acc("mbox_very_dirty_syncs", Bool, "no", "Trust an mbox's index even more.", whyStore),
		acc("mbox_dotlock_change_timeout", Time, "2 mins", "When an mbox lock counts as left behind.", whyStore),
		acc("mbox_lazy_writes", Bool, "yes", "Write mbox headers late.", whyStore),
		acc("mbox_lock_timeout", Time, "5 mins", "How long to wait for an mbox lock.", whyStore),
		acc("mbox_md5", Enum, "apop3d", "How an mbox message is recognised.", whyStore).enum("apop3d", "all"),
		acc("mbox_min_index_size", Size, "0", "The smallest mbox that is indexed.", whyStore),
		acc("mbox_read_locks", List, "fcntl", "Locks for reading an mbox.", whyStore),
		acc("mbox_write_locks", List, "fcntl dotlock", "Locks for writing an mbox.", whyStore),
		acc("mdbox_preallocate_space", Bool, "no", "Reserve space for mdbox files.", whyStore),
		acc("mdbox_rotate_interval", Time, "0", "When an mdbox file is rotated.", whyStore),
		acc("mdbox_rotate_size", Size, "10 M", "When an mdbox file is rotated.", whyStore),
	}
}
