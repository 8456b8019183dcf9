package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/trust"
)

// newTrust makes what lets other nodes in by their word and, on a backend, what gives
// ours.
func (p *parts) newTrust(set *config.Settings) {
	c := p.clustered
	if c == nil || set.Cluster.Delegation == "no" {
		return
	}
	p.verifier = &trust.Verifier{
		View: c.view, Template: c.template, Clock: cluster.BootTime{}, Self: trust.Audience(nodeName(set), c.incarnation),
	}
	if set.Cluster.Backend {
		p.signer = &trust.Signer{Keys: &trust.Keys{}, View: c.view, Template: c.template, Name: nodeName(set)}
	}
}

// nodeKeys are the public keys that others know us by.
func (p *parts) nodeKeys() cluster.NodeKeys {
	if p.signer == nil {
		return cluster.NodeKeys{}
	}
	return p.signer.Keys.Published()
}

// errNotVouched: a password must not be used, and there is nothing else.
var errNotVouched = errors.New("this node can vouch for the user alone, and cluster_delegation = required")

var errNoTrust = errors.New("this node takes no other node's word: it has no coordinator, or cluster_delegation = no")

// logInDelegated is logIn for another node that asks for a user of its own. The word is good
// once, and is used up only where the mail is: a director checks it and hands it on.
func (n *node) logInDelegated(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	if n.verifier == nil {
		return nil, imap.Wrap(imap.CodeCannot, "Not possible", errNoTrust)
	}
	d := cred.Delegation
	asker, err := n.verifier.Check(ctx, d)
	if err != nil {
		return nil, err
	}
	req := authRequest(c, cred)
	req.Delegated, req.Internal = true, true
	res, err := n.auth.Authenticate(ctx, req)
	if err == nil {
		err = trust.CheckTag(d, asker, res.ActingFields["director_tag"])
	}
	if err != nil {
		return nil, err
	}
	login := &imapserver.Login{User: res.User, Acting: res.Acting, Asker: asker.Name, Names: otherNames(res.Fields)}
	if res.Fields.Flag("proxy") {
		login.Proxy, err = n.proxy(ctx, c, cred, res)
		return loggedIn(login, err)
	}
	if err := n.serves(ctx, res.User, c); err != nil {
		return nil, err
	}
	if err := n.verifier.Accept(d); err != nil {
		return nil, err
	}
	n.log.Info("another node's word is taken", "session", c.SessionID, "user", res.User, "acting", res.Acting, "asker", asker.Name)
	return loggedIn(login, n.session(ctx, c, res, login, true))
}

// strays says whether a session was let in by the word of a node that does not hold its user any
// more: a node that does as it should has ended it.
func (p *parts) strays(s imapserver.SessionInfo) bool {
	return s.Asker != "" && !p.verifier.Stands(s.Asker, s.Acting)
}

// checkDelegated refuses what would give a user whom another node vouches for more than
// the ACLs do.
func (u *user) checkDelegated(res *auth.Result) error {
	switch {
	case !u.set.ACL.Enabled:
		return fmt.Errorf("mail of %s for %s: mail_plugins lacks acl, so that rights are not checked: no other node's word is taken", u.name, res.Acting)
	case u.acting != res.Acting || u.name == res.Acting:
		return fmt.Errorf("mail of %s for %s: acl_user makes it %s, for whom nobody has vouched", u.name, res.Acting, u.acting)
	}
	return nil
}

// vouched says whether this node's word opens others' mail for the user, whom imapc_master_user
// names, instead of a password.
func (u *user) vouched(set *config.Imapc, master string) bool {
	return u.node.signer != nil && set.User == "" && (master == "" || u.node.normalize(master) == u.name)
}

// delegate gives this node's word for the user, for one connection.
func (u *user) delegate(owner string) func(audience string) (*sasl.Delegation, error) {
	return func(audience string) (*sasl.Delegation, error) { return u.node.signer.Sign(owner, u.name, audience) }
}
