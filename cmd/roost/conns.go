package main

import (
	"net/netip"
	"sync"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
)

// connCounts counts the sessions of each user from each client address, for
// mail_max_userip_connections. Sessions that another backend opens for its
// users are not counted: a mailbox may have any number of readers.
type connCounts struct {
	mu     sync.Mutex // guards what follows
	open   map[connKey]int
	warned map[string]struct{} // what oncePerUser has done
}

type connKey struct {
	user   string
	client netip.Addr
}

// add counts a session in, or refuses it with LIMIT. max 0 is no limit.
func (c *connCounts) add(res *auth.Result, client *imapserver.Client, max int) (release func(), err error) {
	if res.Master() || max == 0 {
		return func() {}, nil
	}
	key := connKey{res.User, client.Remote.Addr()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key] >= max {
		return nil, imap.Errorf(imap.CodeLimit, "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=%d)", max)
	}
	c.open[key]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[key]--; c.open[key] == 0 {
			delete(c.open, key)
		}
	}, nil
}

// maxWarned bounds what oncePerUser remembers.
const maxWarned = 10_000

// oncePerUser does something the first time only.
func (n *node) oncePerUser(key string, do func()) {
	n.conns.mu.Lock()
	_, done := n.conns.warned[key]
	if n.conns.warned == nil || len(n.conns.warned) >= maxWarned {
		n.conns.warned = map[string]struct{}{}
	}
	n.conns.warned[key] = struct{}{}
	n.conns.mu.Unlock()
	if !done {
		do()
	}
}
