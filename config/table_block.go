package config

var (
	resultWords = []string{"return-ok", "return", "return-fail", "continue", "continue-ok", "continue-fail"}
	skipWords   = []string{"never", "authenticated", "unauthenticated"}
)

// protocolBlocks are the names that a protocol block may have. Only imap has
// something that it can change.
var protocolBlocks = []string{
	"imap", "pop3", "lmtp", "lda", "submission", "sieve", "doveadm", "auth",
	"imap-login", "pop3-login", "imap-hibernate", "imap-urlauth", "imap-urlauth-login", "imap-urlauth-worker",
	"indexer-worker", "quota-status", "stats",
}

// serviceBlocks are Dovecot's services. Roost knows imap-login, whose listeners
// it opens.
var serviceBlocks = []string{
	"imap-login", "imap", "pop3-login", "pop3", "lmtp", "lda", "submission-login", "submission", "managesieve-login",
	"managesieve", "auth", "auth-worker", "anvil", "aggregator", "config", "dict", "dict-async", "dict-expire",
	"director", "dns-client", "dns_client", "doveadm", "health-check", "imap-hibernate", "imap-urlauth",
	"imap-urlauth-login", "imap-urlauth-worker", "indexer", "indexer-worker", "ipc", "log", "old-stats", "quota-status",
	"quota-warning", "replicator", "stats", "tcpwrap", "config-reload",
}

func blockRows() []group {
	return []group{
		{"passdb", "passdb { }", passdbRows()},
		{"userdb", "userdb { }", userdbRows()},
		{"namespace", "namespace [NAME] { }", namespaceRows()},
		{"mailbox", "mailbox NAME { } in a namespace", mailboxRows()},
		{"service", "service NAME { }", serviceRows()},
		{"inet_listener", "inet_listener [NAME] { } in a service", inetRows()},
		{"unix_listener", "unix_listener PATH { } and fifo_listener PATH { } in a service", []Row{
			acc("mode", Octal, "0600", "File mode.", whyProcess),
			acc("user", String, "", "Owner.", whyProcess),
			acc("group", String, "", "Group.", whyProcess),
		}},
		{"metric", "metric NAME { }", []Row{
			acc("event_name", String, "", "Name of the events.", whyStats),
			acc("source_location", String, "", "Place of the events.", whyStats),
			acc("categories", List, "", "Categories of the events.", whyStats),
			acc("filter*", String, "", "Which events are counted.", whyStats),
			acc("fields", List, "", "Fields that are summed up.", whyStats),
			acc("group_by", List, "", "Fields by which is counted.", whyStats),
			acc("exporter", String, "", "Where events are sent.", whyStats),
			acc("exporter_include", List, "name hostname timestamps categories fields", "What is sent.", whyStats),
			acc("description", String, "", "What it is.", whyStats),
		}},
		{"event_exporter", "event_exporter NAME { }", []Row{
			acc("format", String, "", "Form of the events.", whyStats),
			acc("format_args", String, "", "Details of the form.", whyStats),
			acc("transport", String, "", "How events are sent.", whyStats),
			acc("transport_args", String, "", "Details of the way.", whyStats),
			acc("transport_timeout", Time, "250 ms", "How long it may take.", whyStats),
		}},
	}
}

func passdbRows() []Row {
	return []Row{
		imp("driver", String, "", "Where passwords are: passwd-file or static.").
			only("this version has passwd-file and static only", "passwd-file", "static").
			toPass(func(p *Passdb) any { return &p.Driver }),
		imp("args", String, "", "passwd-file: [scheme=S] [username_format=F] PATH. static: fields, for example password=SECRET proxy=y.").
			toPass(func(p *Passdb) any { return &p.Args }).vars().secret(),
		imp("name", String, "", "Name for logs.").toPass(func(p *Passdb) any { return &p.Name }),
		imp("master", Bool, "no", "Asked for the password of master logins only.").toPass(func(p *Passdb) any { return &p.Master }),
		imp("deny", Bool, "no", "Users that are found here are refused.").toPass(func(p *Passdb) any { return &p.Deny }),
		imp("pass", Bool, "no", "Old form of result_success = continue, with master = yes.").toPass(func(p *Passdb) any { return &p.Pass }),
		imp("skip", Enum, "never", "When it is not asked.").enum(skipWords...).toPass(func(p *Passdb) any { return &p.Skip }),
		ref("mechanisms", List, "", "Asked for these mechanisms only.", "this version asks every passdb for all mechanisms").toPass(func(p *Passdb) any { return &p.Mechanisms }),
		ref("username_filter", List, "", "Asked for user names that match; !pattern for those that do not.", "this version asks every passdb for all names").
			toPass(func(p *Passdb) any { return &p.UsernameFilter }),
		imp("default_fields", String, "", "Fields of users that do not have them.").
			toPass(func(p *Passdb) any { return &p.DefaultFields }).vars().secret(),
		imp("override_fields", String, "", "Fields of all users, whatever the database says.").
			toPass(func(p *Passdb) any { return &p.OverrideFields }).vars().secret(),
		imp("result_success", Enum, "return-ok", "What follows when the password is right.").enum(resultWords...).
			toPass(func(p *Passdb) any { return &p.ResultSuccess }),
		imp("result_failure", Enum, "continue", "What follows when it is not, or the user is not here.").enum(resultWords...).
			toPass(func(p *Passdb) any { return &p.ResultFailure }),
		imp("result_internalfail", Enum, "continue", "What follows when the database fails.").enum(resultWords...).
			toPass(func(p *Passdb) any { return &p.ResultInternalFail }),
		acc("auth_verbose", Enum, "default", "auth_verbose for this database.", "failed logins are always logged").enum("default", "yes", "no").
			toPass(func(p *Passdb) any { return &p.AuthVerbose }),
	}
}

func userdbRows() []Row {
	return []Row{
		imp("driver", String, "", "Where users are: passwd-file or static.").
			only("this version has passwd-file and static only", "passwd-file", "static").
			toUser(func(u *Userdb) any { return &u.Driver }),
		imp("args", String, "", "passwd-file: [username_format=F] PATH. static: fields, for example uid=vmail gid=vmail home=/srv/%u.").
			toUser(func(u *Userdb) any { return &u.Args }).vars().secret(),
		imp("name", String, "", "Name for logs.").toUser(func(u *Userdb) any { return &u.Name }),
		imp("skip", Enum, "never", "When it is not asked.").enum("never", "found", "notfound").
			toUser(func(u *Userdb) any { return &u.Skip }),
		imp("default_fields", String, "", "Fields of users that do not have them.").
			toUser(func(u *Userdb) any { return &u.DefaultFields }).vars().secret(),
		imp("override_fields", String, "", "Fields of all users, whatever the database says.").
			toUser(func(u *Userdb) any { return &u.OverrideFields }).vars().secret(),
		imp("result_success", Enum, "return-ok", "What follows when the user is found.").enum(resultWords...).
			toUser(func(u *Userdb) any { return &u.ResultSuccess }),
		imp("result_failure", Enum, "continue", "What follows when not.").enum(resultWords...).
			toUser(func(u *Userdb) any { return &u.ResultFailure }),
		imp("result_internalfail", Enum, "continue", "What follows when the database fails.").enum(resultWords...).
			toUser(func(u *Userdb) any { return &u.ResultInternalFail }),
		acc("auth_verbose", Enum, "default", "auth_verbose for this database.", "failed logins are always logged").enum("default", "yes", "no").
			toUser(func(u *Userdb) any { return &u.AuthVerbose }),
	}
}

func namespaceRows() []Row {
	return []Row{
		imp("type", Enum, "private", "Whose mail it is: one's own, other users', nobody's. That of a public namespace belongs to an account of its own, which imapc_user names in the namespace; without it the namespace's name does.").enum("private", "shared", "public").
			toNS(func(n *Namespace) any { return &n.Type }),
		imp("prefix", String, "", "How its mailboxes' names begin. %%u, %%n and %%d are the owner: a shared namespace for all owners.").
			toNS(func(n *Namespace) any { return &n.Prefix }).vars().user(),
		imp("separator", String, "", "The hierarchy separator, / if empty; the same in all namespaces.").
			toNS(func(n *Namespace) any { return &n.Separator }).user(),
		imp("inbox", Bool, "no", "INBOX is here. Exactly one namespace has yes.").toNS(func(n *Namespace) any { return &n.Inbox }).user(),
		imp("hidden", Bool, "no", "Not in the NAMESPACE reply.").toNS(func(n *Namespace) any { return &n.Hidden }).user(),
		imp("list", Enum, "yes", "Whether LIST shows it; children: only if there is something in it.").enum("yes", "no", "children").
			toNS(func(n *Namespace) any { return &n.List }).user(),
		imp("subscriptions", Bool, "yes", "Keeps its own subscriptions; no: the parent namespace keeps them. Those of others' mail are kept with the reader in both cases.").
			toNS(func(n *Namespace) any { return &n.Subscriptions }).user(),
		imp("location", String, "", "Where the mail is; empty is mail_location. imapc:PATH[:INDEXPVT=PATH] is mail at imapc_host; the paths are not used, INDEXPVT turns private \\Seen on.").
			toNS(func(n *Namespace) any { return &n.Location }).vars().user(),
		imp("disabled", Bool, "no", "As if it were not there.").toNS(func(n *Namespace) any { return &n.Disabled }).user(),
		imp("ignore_on_failure", Bool, "no", "A session goes on without it. That others' mail can't be reached never ends a session: their mailboxes are UNAVAILABLE.").toNS(func(n *Namespace) any { return &n.IgnoreOnFailure }).user(),
		imp("alias_for", String, "", "The prefix of the namespace that has the same mail, of which nothing is listed under the names of this one. Shared namespaces only; the location is that one's.").toNS(func(n *Namespace) any { return &n.AliasFor }).user(),
		imp("acl_shared_dict", String, "", "Roost's own: where another installation keeps who shares with whom, for a shared namespace whose imapc_host is not that of the others. Without it nothing of Roost's users there is listed.").
			toNS(func(n *Namespace) any { return &n.SharedDict }).secret(),
		acc("order", Uint, "0", "Its place in the NAMESPACE reply.", "namespaces stand in the order of the file"),
	}
}

func mailboxRows() []Row {
	return []Row{
		imp("auto", Enum, "no", "Whether it is made at a login of its owner, and subscribed then, if it does not exist.").enum("no", "create", "subscribe").
			toBox(func(m *Mailbox) any { return &m.Auto }),
		imp("special_use", List, "", "Its attributes of RFC 6154, unless it was given others by CREATE or METADATA. Others do not see them.").
			only("RFC 6154 and RFC 8457 know these", `\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`).
			toBox(func(m *Mailbox) any { return &m.SpecialUse }),
		imp("autoexpunge", Time, "0", "How long after it came into the mailbox mail is deleted, when a session of the owner's ends. 0 is never. The name of the block may hold *.").
			toBox(func(m *Mailbox) any { return &m.Autoexpunge }),
		imp("autoexpunge_max_mails", Uint, "0", "How many messages stay in it when a session of the owner's ends; the oldest go. 0 is all.").
			toBox(func(m *Mailbox) any { return &m.AutoexpungeMaxMails }),
		acc("comment", String, "", "Comment that METADATA shows.", "clients set comments by METADATA"),
		acc("driver", String, "", "Its storage driver.", whyStore),
	}
}

func serviceRows() []Row {
	return []Row{
		acc("executable", String, "", "Program that runs. In imap-login, \"imap-login director\" is a director's; another program in imap-login or imap is refused, for it may decide who gets in.", whyProcess),
		acc("process_limit", Uint, "0", "How many processes.", whyProcess),
		acc("process_min_avail", Uint, "0", "How many stand by.", whyProcess),
		acc("client_limit", Uint, "0", "How many clients a process has.", whyProcess),
		acc("service_count", Uint, "0", "How many clients a process serves before it ends.", whyProcess),
		acc("vsz_limit", Size, "18446744073709551615 B", "How much address space.", whyProcess),
		acc("idle_kill", Time, "0", "When an idle process ends.", whyProcess),
		acc("user", String, "", "System user.", whyProcess),
		acc("group", String, "", "System group.", whyProcess),
		acc("extra_groups", List, "", "More system groups.", whyProcess),
		acc("privileged_group", String, "", "Group for some steps.", whyProcess),
		acc("chroot", String, "", "Directory that it cannot leave.", whyProcess),
		acc("drop_priv_before_exec", Bool, "no", "When privileges are dropped.", whyProcess),
		acc("type", String, "", "Kind of service.", whyProcess),
		acc("protocol", String, "", "Protocol that it belongs to.", whyProcess),
	}
}

// inet is an inet_listener block.
type inet struct {
	address string
	port    int
	ssl     bool
	haproxy bool

	masters, clientCert bool
}

func inetRows() []Row {
	return []Row{
		imp("port", Port, "0", "Port; 0 opens none. In imap-login the default is 143 for the listener imap, and 993 for imaps. No port is opened for other services.").
			toInet(func(l *inet) any { return &l.port }),
		imp("address", String, "", "Addresses instead of those of listen.").toInet(func(l *inet) any { return &l.address }),
		imp("ssl", Bool, "no", "TLS from the first byte; the listener imaps has yes. With the setting ssl = no no such port is opened.").toInet(func(l *inet) any { return &l.ssl }),
		imp("haproxy", Bool, "no", "Connections begin with a PROXY header, of version 1 or 2, which says who the client is; they must, and come from haproxy_trusted_networks. With ssl = yes TLS begins behind it.").
			toInet(func(l *inet) any { return &l.haproxy }),
		imp("master_logins", Bool, "yes", "Roost's own: with no nobody acts for another on this port: neither master users, nor backends for their users (X-ROOST-DELEGATION). For ports that the world can reach.").
			toInet(func(l *inet) any { return &l.masters }),
		imp("client_cert", Bool, "no", "Roost's own: nobody logs in on this port without a certificate by an authority of ssl_ca. It needs ssl_verify_client_cert = yes.").
			toInet(func(l *inet) any { return &l.clientCert }),
		acc("reuse_port", Bool, "no", "One socket for each process.", whyProcess),
	}
}
