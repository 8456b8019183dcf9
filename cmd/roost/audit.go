package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/audit"
	"github.com/roost-mail/roost/mailbox"
)

// openAudit opens the file of acl_audit_log.
func (n *node) openAudit() error {
	path := n.set.ACL.AuditLog
	if path == "" {
		return nil
	}
	var err error
	if n.audit, err = audit.Open(path, n.log); err != nil {
		return fmt.Errorf("%s: acl_audit_log: %w", n.set.Where("plugin/acl_audit_log"), err)
	}
	return nil
}

// reopenAudit opens it anew, after it was rotated.
func (p *parts) reopenAudit() {
	if p.audit == nil {
		return
	}
	if err := p.audit.Reopen(); err != nil {
		p.log.Error("acl_audit_log can't be opened anew, the old file stays", "error", err)
	}
}

// auditor tells the audit log what one session does to the mail of one owner.
type auditor struct {
	log   *audit.Log
	base  audit.Record // what all have in common
	other bool         // the session is not the owner's

	mu    sync.Mutex // guards given
	given map[string]struct{}
}

// maxGiven bounds the memory of mailboxes that mail was put into; if it is full, it is
// told once more.
const maxGiven = 1000

// auditor is what the guard tells; nil without acl_audit_log.
func (u *user) auditor() func(acl.Event) {
	if u.node.audit == nil {
		return nil
	}
	a := &auditor{log: u.node.audit, other: u.acting != u.name || u.vars.AuthUser != u.name, base: audit.Record{
		User: u.acting, Owner: u.name, Node: nodeName(u.node.set),
		Session: u.client.SessionID, External: u.client.ExternalSessionID, Client: u.client.Remote.Addr().Unmap().String(),
	}}
	if u.vars.AuthUser != u.acting {
		a.base.Login = u.vars.AuthUser
	}
	return a.event
}

func (a *auditor) event(e acl.Event) {
	switch {
	case e.Changed:
	case !a.other, e.Arrival() && !a.first(e.Mailbox):
		return
	}
	a.log.Add(auditRecord(e, a.base))
}

// first says whether it is the first time that mail is put into a mailbox.
func (a *auditor) first(mailbox string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, had := a.given[mailbox]; had {
		return false
	}
	if a.given == nil || len(a.given) >= maxGiven {
		a.given = map[string]struct{}{}
	}
	a.given[mailbox] = struct{}{}
	return true
}

// auditRecord is base with what happened, now.
func auditRecord(e acl.Event, base audit.Record) audit.Record {
	base.Time, base.What, base.Mailbox = time.Now().UTC().Truncate(time.Millisecond), e.What, e.Mailbox
	if e.Changed {
		base.Before, base.After = auditLines(e.Before), auditLines(e.After)
	}
	return base
}

func auditLines(entries []mailbox.Entry) *[]string {
	lines := strings.FieldsFunc(acl.FormatFile(entries), func(r rune) bool { return r == '\n' })
	if lines == nil {
		lines = []string{}
	}
	return &lines
}
