package acl

import (
	"strings"
	"testing"

	"github.com/roost-mail/roost/mailbox"
)

// BenchmarkRights is what every command on a mailbox asks.
func BenchmarkRights(b *testing.B) {
	entries, _ := ParseFile(strings.NewReader("anyone lr\ngroup=team lrs\nuser=bob lrsw\n-user=eve l\nuser=carol l\n"))
	rules := Rules{Inherit: true}
	who := Identity{Owner: "alice", Acting: "bob", Groups: []string{"staff", "team"}}
	b.ReportAllocs()
	for b.Loop() {
		if Rights(rules.Entries(mailbox.Standing{Name: "Work", Own: entries}), who) == 0 {
			b.Fatal("none")
		}
	}
}
