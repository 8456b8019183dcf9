package namespace

import (
	"context"

	"github.com/roost-mail/roost/imap"
)

// quotaRoot is another owner's quota root that the session was told of.
type quotaRoot struct {
	at   location // without a name
	name string   // as the owner's side calls it
}

// maxQuotaRoots bounds the roots that a session remembers.
const maxQuotaRoots = 1000

// QuotaOf passes on. A root of another owner that has the name of one known
// already gets the owner's prefix added.
func (t *Tree) QuotaOf(ctx context.Context, name string) (imap.Quota, bool, error) {
	p, err := t.find(name)
	if err != nil {
		return imap.Quota{}, false, err
	}
	quota, ok, err := p.account.QuotaOf(ctx, p.name)
	if err == nil && ok && p.account != t.cfg.Own {
		at, _ := t.locate(name)
		quota.Root = t.nameRoot(ctx, location{namespace: at.namespace, owner: at.owner}, quota.Root)
	}
	return quota, ok, err
}

// nameRoot remembers a root of another owner, by a name that is no other's.
func (t *Tree) nameRoot(ctx context.Context, at location, name string) string {
	root := quotaRoot{at: at, name: name}
	shown := name
	if other, known := t.roots[shown]; known && other != root || !known && t.ownRoot(ctx, shown) {
		shown = name + " (" + at.namespace.Prefix(at.owner) + ")"
	}
	if len(t.roots) >= maxQuotaRoots {
		clear(t.roots)
	}
	if t.roots == nil {
		t.roots = map[string]quotaRoot{}
	}
	t.roots[shown] = root
	return shown
}

func (t *Tree) ownRoot(ctx context.Context, name string) bool {
	_, err := t.cfg.Own.QuotaRoot(ctx, name)
	return err == nil
}

// QuotaRoot asks whoever told of the root.
func (t *Tree) QuotaRoot(ctx context.Context, name string) (imap.Quota, error) {
	account, inner := t.cfg.Own, name
	if root, ok := t.roots[name]; ok {
		account, inner = t.owner(root.at.namespace, root.at.owner), root.name
	}
	quota, err := account.QuotaRoot(ctx, inner)
	quota.Root = name
	return quota, err
}
