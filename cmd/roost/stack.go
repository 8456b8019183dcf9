package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/share"
	"github.com/roost-mail/roost/store"
)

// Login answers the IMAP server's question who a client is, and what it works
// on: the backend where the user lives, or the user's mail here.
func (p *parts) Login(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	return p.latest().logIn(ctx, c, cred)
}

func (n *node) logIn(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	if (n.set.Auth.RequireClientCert || c.Door != nil && c.Door.ClientCert) && !(c.Certified != nil && c.Certified()) {
		return nil, imap.Wrap(imap.CodeAuthenticationFailed, "Client didn't present valid SSL certificate", errNoClientCert)
	}
	if cred.Delegation != nil {
		return n.logInDelegated(ctx, c, cred)
	}
	req := authRequest(c, cred)
	req.Probe = n.isProbe(c, &req)
	res, err := n.auth.Authenticate(ctx, req)
	if err != nil {
		return nil, err
	}
	login := &imapserver.Login{User: res.User, Acting: res.Acting, Names: otherNames(res.Fields), Probe: req.Probe}
	if res.Fields.Flag("proxy") {
		login.Proxy, err = n.proxy(ctx, c, cred, res)
	} else {
		err = n.session(ctx, c, res, login, false)
	}
	return loggedIn(login, err)
}

// loggedIn is a login that nothing has kept from being one.
func loggedIn(login *imapserver.Login, err error) (*imapserver.Login, error) {
	if err != nil {
		return nil, err
	}
	return login, nil
}

var errNoClientCert = errors.New("the client has shown no certificate of ssl_ca, as auth_ssl_require_client_cert or client_cert of the listener ask for")

// otherNames are a user's by the fields user_NAME of the passdb, by which administrators
// find sessions too; nil if there are none.
func otherNames(fields auth.Fields) (names map[string]string) {
	for name, value := range fields {
		if name, is := strings.CutPrefix(name, "user_"); is && name != "" && value != "" {
			if names == nil {
				names = map[string]string{}
			}
			names[name] = value
		}
	}
	return names
}

// Keys gives SCRAM exchanges what they need of a user.
func (p *parts) Keys(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials) (sasl.Keys, error) {
	return p.latest().auth.Keys(ctx, authRequest(c, cred))
}

func authRequest(c *imapserver.Client, cred imapserver.Credentials) auth.Request {
	connected := c.Peer.Addr()
	if c.Carrier.IsValid() {
		connected = c.Carrier.Addr()
	}
	return auth.Request{
		Mechanism: cred.Mechanism, AuthzID: cred.AuthzID, AuthID: cred.AuthID, Password: cred.Password, Proof: cred.Proof,
		RemoteAddr: c.Remote.Addr(), PeerAddr: connected, LocalAddr: c.Local.Addr(),
		RemotePort: c.Remote.Port(), LocalPort: c.Local.Port(),
		NoMaster: c.Door != nil && c.Door.NoMasters,
		Service:  "imap", SessionID: c.SessionID, Secured: c.Secured, Internal: c.Trusted && c.Remote == c.Peer,
	}
}

// session opens a user's mail for one session. login.Acting becomes whose rights
// apply: who logged in, unless acl_user names another.
func (n *node) session(ctx context.Context, c *imapserver.Client, res *auth.Result, login *imapserver.Login, delegated bool) error {
	if err := n.serves(ctx, res.User, c); err != nil {
		return err
	}
	u, err := n.user(ctx, c, res)
	if err != nil {
		return unavailable(err)
	}
	if delegated {
		if err := u.checkDelegated(res); err != nil {
			return unavailable(err)
		}
	}
	u.probe = login.Probe
	if login.Account, err = u.open(ctx, res); err != nil {
		return err
	}
	login.Acting = u.acting
	login.RawIn, login.RawOut = u.rawLog()
	return nil
}

// user is who opens which mail, once that is known.
func (n *node) user(ctx context.Context, c *imapserver.Client, res *auth.Result) (*user, error) {
	set, warnings, err := n.set.ForUser(res.UserFields)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		n.oncePerUser(res.User+" "+w.Text, func() {
			n.log.Warn("userdb field", "user", res.User, "warning", w.String())
		})
	}
	n.warnSystemUser(res)
	u := &user{node: n, set: set, client: c, vars: sessionVars(c, res), name: res.User, acting: res.Acting, groups: res.Groups, given: res.GroupsGiven && len(res.Groups) > 0}
	if err := u.applyACLSettings(ctx); err != nil {
		return nil, err
	}
	return u, u.locate(res.UserFields["home"])
}

// unavailable is what a client hears of trouble that an administrator has to mend.
func unavailable(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "Account is temporarily unavailable.", cause)
}

// open is a back session's Account, or the owner's own, which is counted.
func (u *user) open(ctx context.Context, res *auth.Result) (mailbox.Account, error) {
	if u.acting != u.name {
		return u.openGuarded(ctx)
	}
	limit := u.set.Mail.MaxUserIPConnections
	if u.probe {
		limit = 0
	}
	release, err := u.node.conns.add(res, u.client, limit)
	if err != nil {
		return nil, err
	}
	tree, err := u.openTree(ctx, u.atEnd(release))
	if err != nil {
		release()
		return nil, err
	}
	return tree, nil
}

// warnSystemUser: one system user runs Roost, whatever a userdb says.
func (n *node) warnSystemUser(res *auth.Result) {
	for _, id := range [...]struct {
		field string
		have  int
	}{{"uid", os.Getuid()}, {"gid", os.Getgid()}} {
		if want := res.UserFields[id.field]; want != "" && want != fmt.Sprint(id.have) {
			n.oncePerUser(res.User+" "+id.field, func() {
				n.log.Warn("userdb names another system user, which is not used", "user", res.User, id.field, want, "running_as", id.have)
			})
		}
	}
}

func sessionVars(c *imapserver.Client, res *auth.Result) *config.Vars {
	v := &config.Vars{
		User: res.User, Home: res.UserFields["home"], Service: "imap", PID: fmt.Sprint(os.Getpid()),
		LocalIP: c.Connected.Addr().String(), RemoteIP: c.Remote.Addr().String(), Session: c.SessionID,
		AuthUser: res.Acting, OriginalUser: res.OriginalUser, Passdb: res.Fields, Userdb: res.UserFields,
	}
	if res.Master() {
		v.MasterUser, v.LoginUser = res.Acting, res.User
	}
	return v
}

// user is the making of one session's Account.
type user struct {
	node   *node
	set    *config.Settings // with the user's own overrides
	client *imapserver.Client
	vars   *config.Vars
	name   string // the owner
	acting string
	groups []string // of acting, at the login
	member *membership
	dir    string // of the mail
	given  bool   // groups are by the master passdb, so that they stay
	probe  bool   // it is a health check
}

// applyACLSettings lets the settings name whose rights apply (acl_user, or else
// master_user), and the groups of users for whom the userdb names none
// (acl_groups).
func (u *user) applyACLSettings(ctx context.Context) error {
	setting := u.set.ACL.User
	if setting == "" {
		setting = u.set.ACL.MasterUser
	}
	name, err := config.Expand(setting, u.vars)
	if err == nil && name != "" {
		name, err = u.node.auth.Names().Normalize(name)
	}
	if err != nil {
		return fmt.Errorf("acl_user: %w", err)
	}
	if name == u.name && u.acting != u.name {
		u.node.oncePerUser("acl_user", func() {
			u.node.log.Warn("acl_user makes master users the owners of the mail they open: no rights are checked, for shared mailboxes neither",
				"user", u.name, "acting", u.acting)
		})
	}
	if name != "" && name != u.acting {
		res, err := u.node.auth.Lookup(ctx, name)
		if err != nil {
			return fmt.Errorf("acl_user %s: %w", name, err)
		}
		u.acting, u.groups, u.given = name, res.Groups, false
	}
	if len(u.groups) == 0 {
		if u.groups, err = u.node.defaultGroups(ctx, u.acting); err != nil {
			return fmt.Errorf("acl_groups: %w", err)
		}
	}
	return nil
}

// defaultGroups are those of plugin { acl_groups }, for a user whose own entry
// names none. Everything in it is the acting user's, nothing the owner's.
func (n *node) defaultGroups(ctx context.Context, acting string) ([]string, error) {
	if n.set.ACL.Groups == "" {
		return nil, nil
	}
	res, err := n.auth.Lookup(ctx, acting)
	if err != nil {
		return nil, err
	}
	vars := &config.Vars{User: acting, Home: res.UserFields["home"], Service: "imap", Passdb: res.Fields, Userdb: res.UserFields}
	list, err := config.Expand(n.set.ACL.Groups, vars)
	if err != nil {
		return nil, err
	}
	return strings.Split(list, ","), nil
}

// locate works out where the mail is: home, then mail_location.
func (u *user) locate(home string) error {
	if home == "" {
		var err error
		if home, err = config.Expand(u.set.Mail.Home, u.vars); err != nil {
			return fmt.Errorf("mail_home: %w", err)
		}
	}
	u.vars.Home = home
	text, err := config.Expand(u.set.Mail.Location, u.vars)
	if err != nil {
		return fmt.Errorf("mail_location: %w", err)
	}
	location, err := config.ParseLocation(text)
	if err != nil {
		return fmt.Errorf("%s: mail_location: %w", u.set.Where("mail_location"), err)
	}
	if location.Driver != "roost" {
		return fmt.Errorf("%s: mail_location = %s: this server opens roost: only, as in roost:~/mail", u.set.Where("mail_location"), text)
	}
	if strings.HasPrefix(location.Path, "~") && home == "" {
		return fmt.Errorf("mail_location needs a home directory, and userdb and mail_home give none for %s", u.name)
	}
	if u.dir = config.ExpandHome(location.Path, home); !filepath.IsAbs(u.dir) {
		return fmt.Errorf("mail_location and home give %q for %s, which is no absolute path", u.dir, u.name)
	}
	return nil
}

// openGuarded stacks a back session's Account: the store as the acting user
// sees it, the index that hears of changes, and the guard. It has no shared
// namespace, so that chains can't exist.
func (u *user) openGuarded(ctx context.Context) (*acl.Guard, error) {
	view := store.View{Acting: u.acting, PrivateFlags: u.node.privateFlags, PrivateSeen: u.node.privateSeen, Quota: quotaPolicy(u.set.Quota)}
	home, err := u.node.openStore(ctx, u.name, u.dir, view)
	if err != nil {
		return nil, err
	}
	u.node.lost.opened(u.name)
	who := acl.Identity{Owner: u.name, Acting: u.acting}
	if !u.set.ACL.Enabled {
		who.Acting = who.Owner // without the acl plugin whoever gets in may do everything
	}
	if u.given {
		u.member = newMembership(u.groups)
	} else {
		u.member = u.node.members.join(u.acting, u.groups)
	}
	return acl.NewGuard(home, who, acl.Options{
		Rules: u.node.aclRules(u.set), AllowAnyone: u.set.ACL.Anyone, Normalize: u.node.normalize,
		Refused: &u.node.aclRefused, Audit: u.auditor(), Groups: u.member, Closed: u.member.leave, // a session that lasts keeps nothing of u
	}), nil
}

// openTree stacks the owner's own session: the guarded store, and the tree with
// others' shared mail. closed is called when it ends.
func (u *user) openTree(ctx context.Context, closed func()) (*namespace.Tree, error) {
	shared, err := u.sharedNamespaces()
	if err != nil {
		return nil, unavailable(err)
	}
	own, err := u.openGuarded(ctx)
	if err != nil {
		return nil, err
	}
	u.makeMailboxes(ctx, own)
	return namespace.New(namespace.Config{
		User: u.name, Groups: u.member, Own: own, Shared: shared, Closed: closed,
		Moves: u.node.moves, Uses: u.specialUses(), ServerMetadata: serverMetadata(&u.set.Mail),
		Log: u.node.log, Session: u.client.SessionID,
	}), nil
}

// openStore opens mail on this machine's disk, with its changes published.
func (n *node) openStore(ctx context.Context, owner, dir string, view store.View) (share.Home, error) {
	session, err := n.openSession(ctx, owner, dir, view)
	if err != nil {
		return nil, err
	}
	if n.publisher == nil {
		return session, nil
	}
	n.publisher.Opened(owner, session)
	return share.NewPublishing(n.publisher, owner, session), nil
}

// openSession opens mail for one view of it, which holds it open.
func (n *node) openSession(ctx context.Context, owner, dir string, view store.View) (*store.Session, error) {
	account, err := n.store.Open(ctx, owner, dir)
	if err != nil {
		return nil, err
	}
	defer account.Close()
	session := account.As(view)
	n.noteExpiry(ctx, owner, session)
	return session, nil
}

// mailDir is where a user's mail is, outside any session, and the user's settings.
func mailDir(set *config.Settings, res *auth.Result) (dir string, own *config.Settings, err error) {
	if own, _, err = set.ForUser(res.UserFields); err != nil {
		return "", nil, err
	}
	u := &user{set: own, name: res.User, vars: &config.Vars{User: res.User, Home: res.UserFields["home"]}}
	err = u.locate(res.UserFields["home"])
	return u.dir, own, err
}

// openHome opens an owner's mail to publish its shares.
func (p *parts) openHome(ctx context.Context, owner string) (share.Home, error) {
	home, _, err := p.latest().openOwn(ctx, owner)
	if err != nil {
		return nil, err
	}
	return home, nil
}

// openOwn opens an owner's mail as the owner sees it, outside any session.
func (n *node) openOwn(ctx context.Context, owner string) (*store.Session, *config.Settings, error) {
	res, err := n.auth.Lookup(ctx, owner)
	if err != nil {
		return nil, nil, err
	}
	dir, set, err := mailDir(n.set, res)
	if err != nil {
		return nil, nil, err
	}
	home, err := n.openSession(ctx, res.User, dir, store.View{Acting: res.User})
	return home, set, err
}

// exists says whether there is such a user.
func (p *parts) exists(ctx context.Context, user string) (bool, error) {
	_, err := p.latest().auth.Lookup(ctx, user)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return false, nil
	}
	return err == nil, err
}

// normalize brings a name in an ACL into the form that users' names have; a
// name that can't have one stays as it is and matches nobody.
func (n *node) normalize(name string) string {
	if normal, err := n.auth.Names().Normalize(name); err == nil {
		return normal
	}
	return name
}
