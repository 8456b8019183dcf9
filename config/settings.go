package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/tlsconn"
)

// Settings is what a configuration says, typed. Strings that may hold %
// variables are as written; Expand them with the Vars of the session.
//
// A Settings is never changed after Load or ForUser returned it, so any number
// of goroutines may read it.
type Settings struct {
	General    General
	Listeners  []Listener // the ports to open, in file order
	Login      Login
	Auth       Auth
	Mail       Mail
	IMAP       IMAP
	TLS        TLS
	Imapc      Imapc // the global ones; each Namespace has its own
	Director   Director
	Cluster    Cluster
	Admin      Admin
	Health     Health
	Namespaces []Namespace // at least one, and one with Inbox; without the disabled ones
	ACL        ACL
	Quota      *Quota            // nil: none
	Plugin     map[string]string // all of plugin { }, as written

	disabled []Namespace // those that a userdb field may bring back

	path string
	root *section // what was set, protocol blocks laid over
	base *section // what was set, as written
}

// General holds the settings of the process.
type General struct {
	Protocols      []string // imap, and Dovecot's others, which open no port
	Listen         []string
	InstanceName   string
	LogPath        string // "syslog" or a file
	LogFormat      string // "text" or "json"
	SyslogFacility string
	PIDFile        string // empty: none
	BaseDir        string
}

// Listener is one port to open. It is to be opened for the family of its
// address alone, for 0.0.0.0 and :: may share a port.
type Listener struct {
	Service string // "imap-login"
	Name    string // "imap", or what the block is called
	Address string // IP address or host name; "0.0.0.0" for all of IPv4, "::" for all of IPv6
	Port    int
	TLS     bool // from the first byte, or from behind the PROXY header
	HAProxy bool // connections begin with a PROXY header

	Masters    bool // master users log in here, and nodes for theirs
	ClientCert bool // nobody logs in without a certificate
	Pos        Pos
}

// DirectListener is the first listener to which other nodes can connect: those with
// haproxy are for proxies alone.
func (s *Settings) DirectListener() (l Listener, ok bool) {
	i := slices.IndexFunc(s.Listeners, func(l Listener) bool { return !l.HAProxy })
	if i < 0 {
		return Listener{}, false
	}
	return s.Listeners[i], true
}

// TLS says how connections are encrypted.
type TLS struct {
	Mode   string               // no, yes or required; no without a certificate
	Server tlsconn.ServerConfig // for clients that connect to us

	Client        tlsconn.ClientConfig // for servers that we connect to
	VerifyServers bool

	VerifyClients bool // are asked for a certificate by an authority of ca

	minProtocol, cipherList, curveList string
	ca                                 string
	requireCRL                         bool
	clientCert, clientKey              string
	options                            []string
}

// Login holds the settings of connections before login, and of proxying them.
type Login struct {
	Greeting           string
	TrustedNetworks    []netip.Prefix
	SourceIPs          []netip.Addr
	ProxyTimeout       time.Duration
	ProxyMaxReconnects int

	ProxyMaxDisconnectDelay time.Duration
	MaxIPConnections        int // 0: no limit
	HAProxyNetworks         []netip.Prefix
	HAProxyTimeout          time.Duration
}

// Auth says how users prove who they are.
type Auth struct {
	DisablePlaintext    bool
	RequireClientCert   bool
	Mechanisms          []string
	MasterUserSeparator string // one byte, or empty
	FailureDelay        time.Duration
	UsernameFormat      string
	UsernameChars       string // empty: all
	DefaultRealm        string
	Verbose             bool
	CacheSize           int64 // bytes; 0: the smallest
	CacheTTL            time.Duration
	CacheNegativeTTL    time.Duration
	Passdbs             []Passdb // in the order in which they are asked
	Userdbs             []Userdb
	ProxySelf           []netip.Addr // this host's addresses, for proxy_maybe
}

// Field is one word of args, default_fields or override_fields. A word without
// "=" has the value "yes"; Value may hold % variables.
type Field struct{ Key, Value string }

// Passdb is one passdb block.
type Passdb struct {
	Name           string
	Driver         string  // "passwd-file" or "static"
	Args           string  // as written
	Path           string  // passwd-file: the file, may hold % variables
	Scheme         string  // passwd-file: the scheme of passwords without one
	UsernameFormat string  // passwd-file: the form of names in the file
	Fields         []Field // static: its fields
	DefaultFields  []Field
	OverrideFields []Field

	Master, Deny, Pass bool
	Skip               string
	Mechanisms         []string
	UsernameFilter     []string

	// What follows: return-ok, return, return-fail, continue, continue-ok or continue-fail.
	ResultSuccess, ResultFailure, ResultInternalFail string

	AuthVerbose string // default, yes or no
	Pos         Pos
}

// Userdb is one userdb block; see Passdb.
type Userdb struct {
	Name           string
	Driver         string
	Args           string
	Path           string
	UsernameFormat string
	Fields         []Field
	DefaultFields  []Field
	OverrideFields []Field

	Skip string // never, found or notfound

	ResultSuccess, ResultFailure, ResultInternalFail string

	AuthVerbose string
	Pos         Pos
}

// Mail holds what concerns a user's own mail.
type Mail struct {
	Location             string   // judged where a store is opened
	Volumes              []string // roots of the filesystems that hold mail
	SharedExplicitInbox  bool
	VolumeShared         bool // with other backends
	MinFree              int  // bytes that messages leave free
	Ballast              int  // bytes of each volume that are kept for when it is full
	RewriteRate          int  // bytes a second
	ExpungeKeep          time.Duration
	PrivateFlags         []string      // of each reader of others' mail
	PrivateFlagsKeep     time.Duration // without access; 0: for ever
	CacheSize            int           // bytes of memory
	MaxOpenFiles         int           // 0: by the limit of the process
	Compress             string        // no or zstd
	CompressLevel        int
	Home                 string
	Plugins              []string
	MaxUserIPConnections int // 0: no limit
	MaxKeywordLength     int
	ServerAdmin          string // /shared/admin and /shared/comment of METADATA's server
	ServerComment        string
	RawlogDir            string
}

// IMAP holds the settings of the protocol.
type IMAP struct {
	IdleNotifyInterval time.Duration // 0: never
	MaxLineLength      int
	IDSend             string
	IDLog              string
	LogoutFormat       string
}

// Imapc says how mail at another backend is reached. MasterUser is expanded
// with the Vars of the acting user, never of the owner. User empty is the owner.
// Password is never expanded.
type Imapc struct {
	Host          string
	Port          int
	User          string
	MasterUser    string
	Password      string
	SSL           string // no, imaps or starttls
	SSLVerify     bool
	Features      []string
	ListPrefix    string
	CmdTimeout    time.Duration
	MaxIdleTime   time.Duration
	RetryCount    int
	RetryInterval time.Duration
	MaxLineLength int // 0: the client's own limit
	RawlogDir     string
}

// Director holds the settings of a director.
type Director struct {
	Enabled      bool // this is a director
	MailServers  []MailServer
	Servers      []string
	UsernameHash string
	UserExpire   time.Duration
}

// MailServer is one backend of director_mail_servers.
type MailServer struct {
	Host string     // as written, without port and tag
	IP   netip.Addr // zero if Host is a name
	Port int        // 0: the port the client connected to
	Tag  string
}

// Namespace is one namespace block.
type Namespace struct {
	Name            string // empty if the block has none
	Type            string // private, shared or public
	Prefix          string
	Separator       string // never empty
	Inbox           bool
	Hidden          bool
	List            string // yes, no or children
	Subscriptions   bool
	Location        string // empty: mail_location
	Disabled        bool
	IgnoreOnFailure bool
	AliasFor        string
	SharedDict      Dict  // of the shares of another installation
	Imapc           Imapc // the global ones with the namespace's own over them
	Mailboxes       []Mailbox
	Pos             Pos // zero for the namespace that is there without being declared

	own map[string]bool // imapc settings that the namespace sets itself
}

// Mailbox is a mailbox block of a namespace.
type Mailbox struct {
	Name                string
	Auto                string // no, create or subscribe
	SpecialUse          []string
	Autoexpunge         time.Duration // 0: never
	AutoexpungeMaxMails int
}

// ACL holds the settings of access control lists.
type ACL struct {
	Enabled           bool   // mail_plugins has acl, or plugin { acl } is set
	User              string // may hold % variables; empty: MasterUser, then the login's
	MasterUser        string
	Groups            string // may hold % variables; commas, no spaces
	Anyone            bool   // users may give rights to anyone and authenticated
	SharedDict        Dict
	IgnoreNamespaces  []string // patterns with * and ?, for namespace prefixes
	DefaultsFromInbox bool
	GlobalFile        string // of rights on many mailboxes; empty: there are none
	GlobalsOnly       bool   // and only those count
	Inherit           string // copy or live
	AutoSubscribe     bool   // to what others share
	AuditLog          string // path of the file; empty: there is none

	// SweepInterval is the time between two looks at the whole sharing index; 0: never.
	SweepInterval time.Duration

	// GroupsInterval is the time between two lookups of a user's groups; 0: only when a
	// passwd-file has changed.
	GroupsInterval time.Duration
}

// Quota says what a user's mail may take. Limits are 0 where there are none.
type Quota struct {
	Name        string
	Storage     uint64 // bytes
	Messages    uint64
	Grace       uint64 // bytes
	MaxMailSize uint64 // bytes
	Exceeded    string
	NoEnforcing bool
	Hidden      bool
	Rules       []QuotaRule
}

// QuotaRule holds for a mailbox, or for those that match a pattern.
type QuotaRule struct {
	Mailbox           string
	Ignore            bool
	Storage, Messages uint64
}

// HasPlugin says whether mail_plugins has the word.
func (s *Settings) HasPlugin(name string) bool { return slices.Contains(s.Mail.Plugins, name) }

// Where is the place of a value: "imapc_host", "plugin/acl",
// "namespace/shared/location". It is zero for what no file sets.
func (s *Settings) Where(name string) Pos {
	sec, key := s.root, name
	for {
		kid, rest := sec.childOf(key)
		if kid == nil {
			return sec.vals[key].pos
		}
		sec, key = kid, rest
	}
}

func (s *section) childOf(path string) (kid *section, rest string) {
	for _, kid := range s.kids {
		name := kid.kind + "/"
		if kid.name != "" {
			name += kid.name + "/"
		}
		if rest, ok := strings.CutPrefix(path, name); ok {
			return kid, rest
		}
	}
	return nil, path
}
