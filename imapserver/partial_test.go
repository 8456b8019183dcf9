package imapserver

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
)

func TestPartialOf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		var uids []imap.UID
		for uid := range imap.UID(r.IntN(30)) {
			if r.IntN(3) > 0 {
				uids = append(uids, uid+1)
			}
		}
		p := partial{from: 1 + uint32(r.IntN(25)), backwards: r.IntN(2) == 0}
		p.to = p.from + uint32(r.IntN(10))
		var want []imap.UID
		for i, uid := range uids {
			n := uint32(i + 1)
			if p.backwards {
				n = uint32(len(uids) - i)
			}
			if p.from <= n && n <= p.to {
				want = append(want, uid)
			}
		}
		if got := p.of(imap.UIDSetOf(uids...)); !slices.Equal(slices.Collect(got.All()), want) {
			t.Fatalf("%+v of %v: got %v, want %v", p, uids, got, want)
		}
	}
}
