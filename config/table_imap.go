package config

func imapRows() []group {
	return []group{
		{"", "IMAP", []Row{
			imp("imap_idle_notify_interval", Time, "2 mins", `How often an idle client hears "* OK Still here".`).
				to(func(s *Settings) any { return &s.IMAP.IdleNotifyInterval }).user(),
			imp("imap_max_line_length", Size, "64 k", "The longest command line, literals not counted.").
				to(func(s *Settings) any { return &s.IMAP.MaxLineLength }),
			imp("imap_id_send", String, "name *", "What the ID command answers: names and values, * for our own value.").
				to(func(s *Settings) any { return &s.IMAP.IDSend }),
			acc("imap_id_log", String, "", "Fields of the client's ID command that are logged; * for all.", "this version logs none").
				to(func(s *Settings) any { return &s.IMAP.IDLog }),
			acc("imap_logout_format", String,
				"in=%i out=%o deleted=%{deleted} expunged=%{expunged} trashed=%{trashed} hdr_count=%{fetch_hdr_count} hdr_bytes=%{fetch_hdr_bytes} body_count=%{fetch_body_count} body_bytes=%{fetch_body_bytes}",
				"The log's line at the end of a session.", "the log has bytes, commands and reason as fields").
				to(func(s *Settings) any { return &s.IMAP.LogoutFormat }),
			acc("imap_capability", String, "", "Capabilities that are announced.", "Roost announces what it can do"),
			acc("imap_client_workarounds", List, "", "Work-arounds for old clients.", "there are none in this version"),
			acc("imap_fetch_failure", Enum, "disconnect-immediately", "What follows when a message cannot be read.", "FETCH ends with NO and the session goes on").
				enum("disconnect-immediately", "disconnect-after", "no-after"),
			acc("imap_hibernate_timeout", Time, "0", "When an idle session moves to another process.", whyProcess),
			acc("imap_id_retain", Bool, "no", "Keep the client's ID for authentication.", "user databases are not given the client's ID"),
			acc("imap_literal_minus", Bool, "no", "Announce LITERAL- for LITERAL+.", "Roost announces what it can do"),
			acc("imap_metadata", Bool, "no", "Offer METADATA.", "METADATA is always offered"),
			acc("imap_urlauth_host", String, "", "Host name in URLAUTH.", "URLAUTH is not part of this version"),
			acc("imap_urlauth_port", Port, "143", "Port in URLAUTH.", "URLAUTH is not part of this version"),
			acc("imap_urlauth_logout_format", String, "in=%i out=%o", "Log line of URLAUTH sessions.", "URLAUTH is not part of this version"),
		}},
		{"", "imapc: mail at another backend (also inside namespace { })", imapcRows()},
	}
}

func imapcRows() []Row {
	return []Row{
		imp("imapc_host", String, "", "The director, proxy or server where the owner's mail is reached.").
			toImapc(func(i *Imapc) any { return &i.Host }).vars().user(),
		imp("imapc_port", Port, "143", "Its port.").
			toImapc(func(i *Imapc) any { return &i.Port }).user(),
		imp("imapc_user", String, "", "The user to log in as; empty is the owner of the mailbox.").
			toImapc(func(i *Imapc) any { return &i.User }).vars().user(),
		imp("imapc_master_user", String, "", "The user whose rights apply there. %u is the acting user of the session, never the owner.").
			toImapc(func(i *Imapc) any { return &i.MasterUser }).vars().user(),
		imp("imapc_password", String, "", "The password; with imapc_master_user the master password.").
			toImapc(func(i *Imapc) any { return &i.Password }).user().secret(),
		imp("imapc_ssl", String, "no", "TLS to the server: from the first byte, or by STARTTLS and never without. imaps does not change imapc_port.").enum("no", "imaps", "starttls").
			toImapc(func(i *Imapc) any { return &i.SSL }).user(),
		imp("imapc_ssl_verify", Bool, "yes", "Verify the server's certificate: it must be for imapc_host, by an authority of ssl_client_ca_*.").
			toImapc(func(i *Imapc) any { return &i.SSLVerify }).user(),
		imp("imapc_sasl_mechanisms", List, "", "How to log in; empty is plain.").
			only("this version logs in with plain", "plain"),
		imp("imapc_features", List, "", "Dovecot's list of what is passed on. Roost always passes on all that the server can do; features that only work around other servers give a warning.").
			toImapc(func(i *Imapc) any { return &i.Features }).user(),
		ref("imapc_list_prefix", String, "", "Only mailboxes below this name; it does not end with the separator.", "this version shows all that the owner shares").
			toImapc(func(i *Imapc) any { return &i.ListPrefix }).user(),
		imp("imapc_cmd_timeout", Time, "5 mins", "How long a command may go without an answer.").
			toImapc(func(i *Imapc) any { return &i.CmdTimeout }).user(),
		imp("imapc_max_idle_time", Time, "29 mins", "How long a connection may be quiet before it is kept alive; not 0.").
			toImapc(func(i *Imapc) any { return &i.MaxIdleTime }).user(),
		acc("imapc_connection_retry_count", Uint, "1", "How often a lost connection is tried again.", "each command tries again, for a bounded time").
			toImapc(func(i *Imapc) any { return &i.RetryCount }).user(),
		acc("imapc_connection_retry_interval", Time, "1 secs", "How long to wait before that.", "the pause grows from 0.2 to 2 seconds").
			toImapc(func(i *Imapc) any { return &i.RetryInterval }).user(),
		imp("imapc_max_line_length", Size, "0", "The longest line from the server; 0 is the built-in limit.").
			toImapc(func(i *Imapc) any { return &i.MaxLineLength }).user(),
		imp("imapc_rawlog_dir", String, "", "Directory for transcripts of these connections; it must exist.").
			toImapc(func(i *Imapc) any { return &i.RawlogDir }).vars().user(),
	}
}

// imapcFeatures are Dovecot's words for imapc_features; true are those that
// Roost does anyway.
var imapcFeatures = map[string]bool{
	"rfc822.size": true, "fetch-headers": true, "fetch-bodystructure": true, "search": true, "modseq": true,
	"delay-login": true, "acl": true, "sort": true, "send-id": true,
	"guid-forced": false, "gmail-migration": false, "zimbra-workarounds": false, "no-examine": false,
	"fetch-msn-workarounds": false, "fetch-fix-broken-mails": false, "fetch-empty-is-expunged": false,
	"no-msn-updates": false, "proxyauth": false, "no-qresync": false,
}
