package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/config"
)

// readGlobals reads the file of global rights. One that can't be read is an error:
// nobody knows what it would have taken away.
func (n *node) readGlobals() error {
	path := n.set.ACL.GlobalFile
	if path == "" {
		return nil
	}
	where := n.set.Where("plugin/acl")
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: acl: %w", where, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return fmt.Errorf("%s: acl: %s is a directory, with a file for each mailbox perhaps: put them into one file, a line PATTERN IDENTIFIER RIGHTS each", where, path)
	}
	if n.globals, err = acl.ParseGlobals(f); err != nil {
		return fmt.Errorf("%s: acl: %s: %w", where, path, err)
	}
	n.globalsAt = info
	return nil
}

// globalsInterval is the time between two looks at the file of global rights.
const globalsInterval = time.Second

// followGlobals has a changed file of global rights hold, until ctx ends.
func (n *node) followGlobals(ctx context.Context) {
	var f globalsFollower
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(globalsInterval):
			f.look(n.parts)
		}
	}
}

// globalsFollower is followGlobals's own state.
type globalsFollower struct {
	seen      os.FileInfo // at the last look; nil: it was not there
	complaint string
}

// look reads the file if it is another one than was read, and has not changed since the
// last look: until then it may be half written. One that can't be used changes nothing,
// and is complained of once.
func (f *globalsFollower) look(p *parts) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	old := p.latest()
	if old.set.ACL.GlobalFile == "" {
		return
	}
	info, err := os.Stat(old.set.ACL.GlobalFile)
	settled := err != nil || unchanged(f.seen, info)
	f.seen = info
	if err == nil && (unchanged(old.globalsAt, info) || !settled) {
		return
	}
	next := *old
	if err := next.readGlobals(); err != nil {
		if f.complaint != err.Error() {
			f.complaint = err.Error()
			p.log.Error("global rights can't be read again, the old ones stay", "error", err)
		}
		return
	}
	f.complaint = ""
	p.current.Store(&next)
	p.rulesChanged(old, &next)
}

func unchanged(a, b os.FileInfo) bool {
	return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// rulesChanged tells all whom the difference of global rights, and of what INBOX lends,
// concerns: those who have such mailboxes open, the sharing index, and the audit log.
func (p *parts) rulesChanged(old, now *node) {
	changed := acl.CompareGlobals(old.globals, now.globals)
	globals, all := len(changed.Gone)+len(changed.Came) > 0, old.set.ACL.DefaultsFromInbox != now.set.ACL.DefaultsFromInbox
	if globals {
		p.log.Info("global rights have changed", "file", now.set.ACL.GlobalFile, "lines_gone", len(changed.Gone), "lines_new", len(changed.Came))
		p.auditGlobals(changed)
	}
	if !globals && !all {
		return
	}
	open := p.store.RightsChanged(func(name string) bool { return all || changed.Concern(name) })
	if p.publisher != nil {
		p.publisher.RulesChanged(open)
	}
}

// rulesOf are the rules for an owner's mailboxes, as the configuration and the owner's own
// settings say now.
func (p *parts) rulesOf(ctx context.Context, owner string) (acl.Rules, error) {
	n := p.latest()
	res, err := n.auth.Lookup(ctx, owner)
	if err != nil {
		return acl.Rules{}, err
	}
	set, _, err := n.set.ForUser(res.UserFields)
	if err != nil {
		return acl.Rules{}, err
	}
	return p.aclRules(set), nil
}

// aclRules are the rules of settings, with the global rights as they were read last.
func (p *parts) aclRules(set *config.Settings) acl.Rules {
	r := acl.Rules{
		DefaultsFromInbox: set.ACL.DefaultsFromInbox, Inherit: set.ACL.Inherit == "live", GlobalsOnly: set.ACL.GlobalsOnly,
	}
	if set.ACL.GlobalFile != "" {
		r.Globals = func() *acl.Globals { return p.latest().globals }
	}
	return r
}
