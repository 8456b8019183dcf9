package config

import "path/filepath"

// Why a setting is read and not used, where many share the reason.
const (
	whyProcess = "Roost is one process, without process limits, users or sockets of this kind"
	whyLog     = "Roost logs structured lines of its own form"
	whyStore   = "mail is kept in Roost's own store, not in mbox, Maildir or dbox files"
	whyUID     = "mail belongs to the user that Roost runs as"
	whyMaster  = "doveadm's protocol is not served: no port is opened"
	whyLMTP    = "LMTP is not served by this version: no port is opened"
	whyLDA     = "mail is not delivered by a program of its own"
	whyPOP3    = "POP3 is not served by this version: no port is opened"
	whySubmit  = "mail submission is not served by this version: no port is opened"
	whySieve   = "ManageSieve and Sieve are not part of this version"
	whyRing    = "this version has one director: there is no ring"
	whyStats   = "Roost has no event statistics of this kind"
	whyDsync   = "dsync and the replicator are not part of Roost"
	whyMech    = "the mechanism it belongs to is not offered"
	whyPolicy  = "it belongs to auth_policy_server_url, which is refused"
	whyGone    = "Dovecot 2.3 itself no longer has it"
)

func coreRows() []group {
	return []group{
		{"", "Server", []Row{
			imp("protocols", List, "imap", "The protocols that are served. Of Dovecot's, only imap opens a port in this version.").
				to(func(s *Settings) any { return &s.General.Protocols }),
			imp("listen", List, "*, ::", "Addresses on which the listeners are opened; * is every IPv4 and :: every IPv6 address.").
				to(func(s *Settings) any { return &s.General.Listen }),
			imp("instance_name", String, "dovecot", "The name of this backend in the manifests of the mail it holds: each backend has its own. Unset, it is the host name and the first listener.").
				to(func(s *Settings) any { return &s.General.InstanceName }),
			imp("log_path", String, "", "Where the log goes: a file, syslog, or empty for stderr. Dovecot's default is syslog.").
				to(func(s *Settings) any { return &s.General.LogPath }),
			imp("log_format", String, "text", "Roost's own: the form of the log's lines.").enum("text", "json").
				to(func(s *Settings) any { return &s.General.LogFormat }),
			imp("syslog_facility", String, "mail", "The syslog facility, if log_path = syslog.").
				to(func(s *Settings) any { return &s.General.SyslogFacility }),
			acc("info_log_path", String, "", "Another file for informational lines.", "there is one log"),
			acc("debug_log_path", String, "", "Another file for debug lines.", "there is one log"),
			acc("log_timestamp", String, "%b %d %H:%M:%S ", "The time's form in log files.", whyLog),
			acc("log_debug", String, "", "Filter of the events that are logged for debugging.", whyLog),
			acc("log_core_filter", String, "", "Filter of the events that dump core.", whyLog),
			acc("process_shutdown_filter", String, "", "Filter of the events after which a process ends.", whyProcess),
			imp("pid_file", String, "", "Roost's own: file that holds the process id while it runs, for roost reload. An absolute path; empty: none.").
				to(func(s *Settings) any { return &s.General.PIDFile }),
			imp("base_dir", String, filepath.Dir(DefaultAdminSocket), "Directory of the admin socket. One that is set is made if its parent is there. Dovecot's default is /run/dovecot.").
				to(func(s *Settings) any { return &s.General.BaseDir }),
			acc("state_dir", String, "/var/lib/dovecot", "Directory of state that is not mail.", whyProcess),
			acc("libexec_dir", String, "/usr/lib/dovecot", "Directory of Dovecot's programs.", whyProcess),
			acc("import_environment", String, "TZ CORE_OUTOFMEM CORE_ERROR LISTEN_PID LISTEN_FDS NOTIFY_SOCKET",
				"Environment variables that child processes keep.", whyProcess),
			acc("shutdown_clients", Bool, "yes", "Whether sessions end when the master process does.", "sessions always end with the process"),
			acc("default_process_limit", Uint, "100", "How many processes a service may have.", whyProcess),
			acc("default_client_limit", Uint, "1000", "How many clients a process may have.", whyProcess),
			acc("default_vsz_limit", Size, "256 M", "How much address space a process may have.", whyProcess),
			acc("default_idle_kill", Time, "1 mins", "When an idle process ends.", whyProcess),
			acc("default_internal_user", String, "dovecot", "The user of unprivileged processes.", whyProcess),
			acc("default_internal_group", String, "dovecot", "The group of unprivileged processes.", whyProcess),
			acc("default_login_user", String, "dovenull", "The user of login processes.", whyProcess),
			acc("verbose_proctitle", Bool, "no", "Show users in the process list.", whyProcess),
			acc("version_ignore", Bool, "no", "Let processes of different versions work together.", whyProcess),
			acc("config_cache_size", Size, "1 M", "Memory of the config process.", whyProcess),
			acc("dict_db_config", String, "", "Berkeley DB configuration of the dict process.", whyProcess),
			acc("stats_writer_socket_path", String, "stats-writer", "Socket of the stats process.", whyStats),
			acc("stats_http_rawlog_dir", String, "", "Directory for transcripts of the stats process's HTTP.", whyStats),
			acc("old_stats_carbon_interval", Time, "30 secs", "How often old-stats sends to Carbon.", whyStats),
			acc("old_stats_carbon_name", String, "", "Name sent to Carbon.", whyStats),
			acc("old_stats_carbon_server", String, "", "Carbon server.", whyStats),
			acc("old_stats_command_min_time", Time, "1 mins", "How long old-stats keeps a command.", whyStats),
			acc("old_stats_domain_min_time", Time, "12 hours", "How long old-stats keeps a domain.", whyStats),
			acc("old_stats_ip_min_time", Time, "12 hours", "How long old-stats keeps an address.", whyStats),
			acc("old_stats_memory_limit", Size, "16 M", "Memory of old-stats.", whyStats),
			acc("old_stats_session_min_time", Time, "15 mins", "How long old-stats keeps a session.", whyStats),
			acc("old_stats_user_min_time", Time, "1 hours", "How long old-stats keeps a user.", whyStats),
			acc("hostname", String, "", "Host name in messages that Dovecot writes itself.", whyLDA),
		}},
		{"", "Login", []Row{
			imp("login_greeting", String, "Roost ready.", "Text of the greeting.").
				to(func(s *Settings) any { return &s.Login.Greeting }),
			imp("login_trusted_networks", List, "", "Networks of directors and proxies: their connections count as secured, and the client's address they send is believed.").
				to(func(s *Settings) any { return &s.Login.TrustedNetworks }),
			imp("login_source_ips", List, "", "Addresses from which the director connects to backends, in turn.").
				to(func(s *Settings) any { return &s.Login.SourceIPs }),
			imp("login_max_ip_connections", Uint, "250", "Roost's own: how many connections that have not logged in one address may have; of IPv6, one network of 64 bits. login_trusted_networks may have any number. 0 is no limit.").
				to(func(s *Settings) any { return &s.Login.MaxIPConnections }),
			imp("login_proxy_timeout", Time, "30 secs", "How long connecting and logging in to a backend may take, all attempts together. Unset, it is 5 seconds, with a coordinator 10: clients do not wait longer.").
				to(func(s *Settings) any { return &s.Login.ProxyTimeout }),
			imp("login_proxy_max_reconnects", Uint, "3", "How often the director tries a backend again that can't be reached or is UNAVAILABLE, a second apart, within login_proxy_timeout. With a coordinator it tries until then.").
				to(func(s *Settings) any { return &s.Login.ProxyMaxReconnects }),
			imp("login_proxy_max_disconnect_delay", Time, "0", "When a backend closes connections whose clients did not log out, as when it dies, the clients' are closed spread over this time, so that they do not all come back at once.").
				to(func(s *Settings) any { return &s.Login.ProxyMaxDisconnectDelay }),
			acc("login_proxy_notify_path", String, "proxy-notify", "Fifo to the director process.", whyProcess),
			acc("login_proxy_rawlog_dir", String, "", "Directory for transcripts of proxied connections.", "proxied connections are not recorded"),
			acc("login_log_format", String, "%$: %s", "Form of the log's line about a login.", whyLog),
			acc("login_log_format_elements", String, "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}>",
				"What the log's line about a login tells.", whyLog),
			acc("login_plugin_dir", String, "/usr/lib/dovecot/modules/login", "Directory of login plugins.", "there are no login plugins"),
			ref("login_plugins", List, "", "Plugins of the login process.", "a login plugin may decide who gets in, and Roost has none"),
			ref("login_access_sockets", List, "", "Sockets that are asked whether an address may connect.", "addresses that it would turn away would be let in"),
			imp("haproxy_timeout", Time, "3 secs", "How long a PROXY header may take.").
				to(func(s *Settings) any { return &s.Login.HAProxyTimeout }),
			imp("haproxy_trusted_networks", List, "", "The proxies that may connect to listeners with haproxy = yes, and are believed who a client is. All others are dropped there.").
				to(func(s *Settings) any { return &s.Login.HAProxyNetworks }),
		}},
	}
}
