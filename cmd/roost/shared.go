package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/moving"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/overlay"
	"github.com/roost-mail/roost/remote"
	"github.com/roost-mail/roost/store"
	"github.com/roost-mail/roost/tlsconn"
)

// sharedNamespaces are the user's namespaces of type shared and public: mail of
// other users and of nobody, reached through the director.
func (u *user) sharedNamespaces() ([]namespace.Shared, error) {
	var out []namespace.Shared
	for i := range u.set.Namespaces {
		ns := &u.set.Namespaces[i]
		if !ns.IsTemplate() && ns.Type != "public" {
			continue
		}
		s, err := u.aliasOrShared(ns)
		if errors.Is(err, errNoMaster) || errors.Is(err, errNotVouched) {
			u.node.oncePerUser(u.name+" imapc_master_user", func() {
				u.node.log.Error("others' shared mail can't be opened", "user", u.name, "namespace", ns.Name, "error", err)
			})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: namespace %s: %w", ns.Pos, ns.Name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// errNoMaster: without a user of one's own the owner's backend would take the
// reader for the owner.
var errNoMaster = errors.New("imapc_master_user is empty: it has to name the acting user, as %u does")

// aliasOrShared is the namespace, or the one with the same mail under other names.
func (u *user) aliasOrShared(ns *config.Namespace) (namespace.Shared, error) {
	if ns.Type == "public" {
		return u.publicNamespace(ns)
	}
	template, err := ns.OwnerTemplate(u.vars)
	if err != nil {
		return namespace.Shared{}, err
	}
	aliased := u.set.Aliased(ns)
	if aliased == nil {
		return u.sharedNamespace(ns, template)
	}
	s, err := u.sharedNamespace(aliased, template)
	if err == nil {
		var of config.OwnerTemplate
		of, err = aliased.OwnerTemplate(u.vars)
		s.AliasFor, s.List, s.Hidden = of.Root(), namespace.ListNo, ns.Hidden
	}
	return s, err
}

func (u *user) sharedNamespace(ns *config.Namespace, template config.OwnerTemplate) (namespace.Shared, error) {
	master, err := config.Expand(ns.Imapc.MasterUser, u.vars) // %u is the acting user
	if err != nil {
		return namespace.Shared{}, fmt.Errorf("imapc_master_user: %w", err)
	}
	foreign := u.set.Foreign(ns)
	if master == "" && !foreign && u.vouched(&ns.Imapc, "") {
		master = u.name
	}
	switch {
	case master == "":
		return namespace.Shared{}, errNoMaster
	case u.set.Cluster.Delegation == "required" && ns.Imapc.User == "" && !u.vouched(&ns.Imapc, master):
		return namespace.Shared{}, fmt.Errorf("imapc_master_user is %s: %w", master, errNotVouched)
	}
	s := namespace.Shared{
		Root:   template.Root(),
		Match:  u.matchOwner(template),
		Prefix: template.Prefix,
		List:   listMode(ns.List),
		Hidden: ns.Hidden,

		ExplicitInbox: u.set.Mail.SharedExplicitInbox,
		AutoSubscribe: u.set.ACL.AutoSubscribe,
		Open:          func(owner string) mailbox.Complete { return u.others(&ns.Imapc, owner, master) },
		Index:         u.shares(),
	}
	if foreign {
		s.Foreign = true
		s.Open = func(owner string) mailbox.Complete {
			return moving.Veil(u.foreignMail(ns, owner, master), u.node.veil)
		}
		s.Index = u.foreignShares(ns)
		s.Match, s.Prefix = except(s.Match, s.Prefix, u.isNamesake(master))
	} else if public := u.publicAccounts(); len(public) > 0 { // an idle session keeps what is made here
		s.Match, s.Prefix = except(s.Match, s.Prefix, func(owner string) bool { return slices.Contains(public, owner) })
	}
	return s, nil
}

// publicNamespace is a namespace with one owner, whose name is not told.
func (u *user) publicNamespace(ns *config.Namespace) (namespace.Shared, error) {
	prefix, err := config.Expand(ns.Prefix, u.vars)
	if err != nil {
		return namespace.Shared{}, err
	}
	account := u.node.normalize(ns.PublicAccount())
	own := *ns
	own.Imapc.User = ""
	s, err := u.sharedNamespace(&own, config.OwnerTemplate{})
	s.Root, s.Public, s.ExplicitInbox = prefix, true, true
	s.Match = func(name string) (owner, rest string, ok bool) {
		rest, ok = strings.CutPrefix(name, prefix)
		return account, rest, ok && rest != ""
	}
	s.Prefix = func(owner string) string {
		if owner != account {
			return ""
		}
		return prefix
	}
	return s, err
}

// publicAccounts are the accounts of public namespaces, whose mail is there alone.
func (u *user) publicAccounts() (accounts []string) {
	for i := range u.set.Namespaces {
		if ns := &u.set.Namespaces[i]; ns.Type == "public" {
			accounts = append(accounts, u.node.normalize(ns.PublicAccount()))
		}
	}
	return accounts
}

// isNamesake finds the owners of another installation who have the name of the user, or the
// one by which the user logs in there: that would be the owner's own login.
func (u *user) isNamesake(master string) func(owner string) bool {
	master = u.node.normalize(master)
	return func(owner string) bool { return owner == u.name || owner == master }
}

// except leaves owners out of a namespace.
func except(
	match func(string) (string, string, bool), prefix func(string) string, out func(owner string) bool,
) (func(string) (string, string, bool), func(string) string) {
	return func(name string) (owner, rest string, ok bool) {
			owner, rest, ok = match(name)
			return owner, rest, ok && !out(owner)
		}, func(owner string) string {
			if out(owner) {
				return ""
			}
			return prefix(owner)
		}
}

// matchOwner finds the owner in a name, in the form that user names have.
func (u *user) matchOwner(template config.OwnerTemplate) func(string) (owner, rest string, ok bool) {
	return func(name string) (owner, rest string, ok bool) {
		if owner, rest, ok = template.Match(name); !ok {
			return "", "", false
		}
		owner, err := u.node.auth.Names().Normalize(owner)
		return owner, rest, err == nil
	}
}

func listMode(s string) namespace.ListMode {
	switch s {
	case "yes":
		return namespace.ListYes
	case "no":
		return namespace.ListNo
	}
	return namespace.ListChildren
}

// shares is the sharing index; without acl_shared_dict nothing is listed.
func (u *user) shares() namespace.Index {
	if u.node.sharing == nil {
		return noIndex{}
	}
	return u.node.sharing.index
}

// noIndex knows nothing: others' mailboxes can be opened by name only.
type noIndex struct{}

func (noIndex) Visible(context.Context, string, []string) (map[string][]mailbox.ListEntry, []string, error) {
	return nil, nil, nil
}

// foreignShares is the index of another installation. Without a dictionary of its own it
// is what this one's knows of owners on other software, who may be there.
func (u *user) foreignShares(ns *config.Namespace) namespace.Index {
	if x := u.node.foreign[ns.SharedDict.URI]; x != nil {
		return x.index
	}
	return othersIndex{u.shares()}
}

// othersIndex leaves out what users of this installation share.
type othersIndex struct{ namespace.Index }

func (x othersIndex) Visible(ctx context.Context, user string, groups []string) (map[string][]mailbox.ListEntry, []string, error) {
	_, vague, err := x.Index.Visible(ctx, user, groups)
	return nil, vague, err
}

// backSessionTimeout is how long an owner's backend may be silent in the middle
// of a command, if imapc_cmd_timeout does not say. Dovecot's 5 minutes are
// longer than clients wait.
const backSessionTimeout = 30 * time.Second

// others is another owner's mail. How long it takes to hear that there is no such mailbox
// does not tell whether there is such an owner.
func (u *user) others(set *config.Imapc, owner, master string) mailbox.Complete {
	return moving.Veil(u.wherever(set, owner, master), u.node.veil)
}

// evenTime is a time that nearly all refusals of others' mail take less than, with the
// connections and the opening of accounts that come first.
const evenTime = 25 * time.Millisecond

// wherever is another owner's mail: in this process while this backend holds the
// owner, else by a back session.
func (u *user) wherever(set *config.Imapc, owner, master string) moving.Home {
	if u.node.holds == nil || set.User != "" {
		return u.backSession(set, owner, master, u.vouched(set, master))
	}
	return moving.New(moving.Config{
		Owner: owner, Log: u.node.log.With("session", u.client.SessionID, "user", u.name),
		Here:      func() bool { return u.node.holds(owner) },
		Open:      func(ctx context.Context) (moving.Home, error) { return u.openOwner(ctx, set, owner, master) },
		Elsewhere: func() moving.Home { return u.backSession(set, owner, master, u.vouched(set, master)) },
		Arrived:   remote.Arrived,
	})
}

// openOwner is a back session without a connection: it logs in as one does, and has
// the rights that one has.
func (u *user) openOwner(ctx context.Context, set *config.Imapc, owner, master string) (moving.Home, error) {
	n := u.node.latest()
	here := u.client.Local
	vouched := u.vouched(set, master)
	res, err := n.auth.Authenticate(ctx, auth.Request{
		Mechanism: "PLAIN", AuthzID: owner, AuthID: master, Password: set.Password, Delegated: vouched,
		RemoteAddr: here.Addr(), PeerAddr: here.Addr(), LocalAddr: here.Addr(), LocalPort: here.Port(),
		Service: "imap", SessionID: u.client.SessionID, Secured: true,
		Internal: true,
	})
	if err != nil {
		return nil, err
	}
	if res.Fields.Flag("proxy") {
		return nil, errElsewhere
	}
	o, err := n.user(ctx, u.client, res)
	if err != nil {
		return nil, err
	}
	if o.name != owner || o.acting == o.name {
		return nil, errElsewhere
	}
	if vouched {
		if err := o.checkDelegated(res); err != nil {
			return nil, unavailable(err)
		}
	}
	guard, err := o.openGuarded(ctx)
	if err != nil {
		return nil, err
	}
	n.log.Info("back session in this process", "session", u.client.SessionID, "user", u.name, "owner", owner, "acting", o.acting)
	return guard, nil
}

// errElsewhere is a login that only a connection can make.
var errElsewhere = errors.New("the login leads elsewhere")

// foreignMail is an owner's mail at another installation. With INDEXPVT the user's own flags
// lie over it, and are kept with the user's own mail.
func (u *user) foreignMail(ns *config.Namespace, owner, master string) mailbox.Complete {
	cfg := u.backConfig(&ns.Imapc, owner, master)
	flags := u.node.privateFlags
	if !hasIndexPvt(ns) || len(flags) == 0 {
		return remote.New(cfg)
	}
	cfg.Apart = flags
	return overlay.New(overlay.Config{
		Home: remote.New(cfg), Account: cmp.Or(ns.Name, ns.Prefix) + "/" + owner, Flags: flags, Log: cfg.Log,
		Keep: func(ctx context.Context) (overlay.Keeper, error) {
			return u.node.openSession(ctx, u.name, u.dir, store.View{Acting: u.name})
		},
	})
}

// backSession is an owner's mail at the backend where it lives, with the acting
// user's rights, by this node's word if vouched. Nothing is connected until it is needed.
func (u *user) backSession(set *config.Imapc, owner, master string, vouched bool) *remote.Account {
	cfg := u.backConfig(set, owner, master)
	if vouched {
		cfg.Delegate = u.delegate(owner)
		if u.set.Cluster.Delegation == "required" {
			cfg.Password = ""
		}
	}
	return remote.New(cfg)
}

// backConfig is a back session by the password.
func (u *user) backConfig(set *config.Imapc, owner, master string) remote.Config {
	timeout := set.CmdTimeout
	if u.set.Where("imapc_cmd_timeout").IsZero() {
		timeout = backSessionTimeout
	}
	cfg := remote.Config{
		Away: u.node.away, Server: net.JoinHostPort(set.Host, strconv.Itoa(set.Port)),
		Owner: owner, Acting: master, Password: set.Password,
		ID:       map[string]string{"name": "Roost", "x-session-ext-id": u.client.SessionID},
		Log:      u.node.log.With("session", u.client.SessionID, "user", u.name),
		IdleTime: set.MaxIdleTime,
		Dial: func(ctx context.Context) (*imapclient.Conn, error) {
			addr := net.JoinHostPort(set.Host, strconv.Itoa(set.Port))
			cfg := imapclient.Config{Timeout: timeout, RawLog: u.imapcRawLog(set), Security: imapclient.SecurityOf(set.SSL), Counters: &u.node.hops}
			if cfg.Security != imapclient.Plain {
				anyCert := !set.SSLVerify || !u.set.TLS.VerifyServers
				cfg.TLS = tlsconn.Named(u.node.latest().clientTLS, set.Host, anyCert)
			}
			return imapclient.Dial(ctx, "tcp", addr, cfg)
		},
	}
	if set.User != "" {
		vars := *u.vars
		vars.User = owner
		if name, err := config.Expand(set.User, &vars); err == nil {
			cfg.Owner = name
		}
	}
	return cfg
}
