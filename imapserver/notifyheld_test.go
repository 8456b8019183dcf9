package imapserver

import (
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Flag changes that NOTIFY does not let us tell cost memory in proportion to
// their number, however torn they are.
func TestHeldFlagsAreCheap(t *testing.T) {
	const changes = 10_000
	s := &session{notify: &notification{}}
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.untold = nil
			c := mailbox.Changes{Flags: make([]mailbox.Message, changes)}
			for i := range c.Flags {
				c.Flags[i].UID = imap.UID(1 + 2*i)
			}
			s.holdFlags(&c)
		}
	})
	if got := len(s.untold); got != changes {
		t.Errorf("%d ranges are held", got)
	}
	if perChange := result.AllocedBytesPerOp() / changes; perChange > 2000 {
		t.Errorf("%d bytes were allocated for each change", perChange)
	}
}
