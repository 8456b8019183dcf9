package main

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/audit"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/share"
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

	mu      sync.Mutex // guards what follows
	given   map[string]struct{}
	refused int
}

// maxGiven bounds the memory of mailboxes that mail was put into; if it is full, it is
// told once more.
const maxGiven = 1000

// maxRefused is how much that was refused to one session is told.
const maxRefused = 100

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
	case e.Err != nil:
		if !a.other || !a.refusable() {
			return
		}
	case e.Shared:
	case !a.other, e.What.Arrival() && !a.first(e.Mailbox):
		return
	}
	base := a.base
	base.What = e.What.String()
	a.log.Add(auditRecord(e, base))
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

// refusable counts a refusal, and says whether it is to be told.
func (a *auditor) refusable() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused++
	return a.refused <= maxRefused
}

// auditRecord is base with what happened, now.
func auditRecord(e acl.Event, base audit.Record) audit.Record {
	base.Time, base.Result = auditTime(), auditResult(e.Err)
	base.Mailbox, base.To, base.Entries = e.Mailbox, e.To, e.Entries
	if e.Changed && e.Err == nil {
		base.Before, base.After = auditLines(e.Before), auditLines(e.After)
	}
	return base
}

func auditTime() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// auditResult is the response code of what failed, or ok.
func auditResult(err error) string {
	if err == nil {
		return "ok"
	}
	return cmp.Or(string(imap.CodeOf(err)), "failed")
}

func auditLines(entries []mailbox.Entry) *[]string {
	return auditTexts(strings.FieldsFunc(acl.FormatFile(entries), func(r rune) bool { return r == '\n' }))
}

// auditTexts is lines that are there even if there are none.
func auditTexts(lines []string) *[]string {
	if lines == nil {
		lines = []string{}
	}
	return &lines
}

// whatMended is the kind of the mending of the sharing index about an owner.
const whatMended = "index mended"

// auditMended tells that the sharing index was wrong about an owner.
func (p *parts) auditMended(d share.Drift) {
	if p.audit != nil {
		p.audit.Add(audit.Record{Time: auditTime(), What: whatMended, Owner: d.Owner, Keys: len(d.Changes), Node: nodeName(p.latest().set), Result: "ok"})
	}
}

// auditOperation tells of an administrator's change. What one of rights changed here has
// a line already.
func (p *parts) auditOperation(d admin.Done) {
	if p.audit == nil || d.Op.Changes == admin.ChangesRights && !d.Asked && d.Err == nil {
		return
	}
	p.audit.Add(audit.Record{
		Time: auditTime(), What: d.Op.Name, Operator: d.Who.Name, Args: d.Args, Node: nodeName(p.latest().set), Client: d.Who.From, Result: auditResult(d.Err),
	})
}

// auditGlobals tells of a file of global rights that has changed.
func (p *parts) auditGlobals(c acl.GlobalsChange) {
	if p.audit != nil {
		p.audit.Add(audit.Record{
			Time: auditTime(), What: acl.GlobalACL.String(), Node: nodeName(p.latest().set), Result: "ok",
			Before: auditTexts(c.Gone), After: auditTexts(c.Came),
		})
	}
}
