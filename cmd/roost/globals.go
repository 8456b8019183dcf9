package main

import (
	"fmt"
	"os"

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
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return fmt.Errorf("%s: acl: %s is a directory, with a file for each mailbox perhaps: put them into one file, a line PATTERN IDENTIFIER RIGHTS each", where, path)
	}
	if n.globals, err = acl.ParseGlobals(f); err != nil {
		return fmt.Errorf("%s: acl: %s: %w", where, path, err)
	}
	return nil
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
