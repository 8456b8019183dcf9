package acl

import (
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// TestRoles: each role has all that the one before it has, and only the last changes rights
// and deletes mailboxes; docs/sharing.md has the letters.
func TestRoles(t *testing.T) {
	want := map[string]string{"read": "lrs", "triage": "lrswitp", "full": "lrswitpek", "admin": "lrswitpekxa"}
	var before imap.Rights
	for _, r := range Roles() {
		rights, err := imap.ParseRights(want[r.Name])
		if err != nil || r.Rights != rights {
			t.Errorf("%s: %s, want %s", r.Name, r.Rights, want[r.Name])
		}
		if !r.Rights.Has(before) || r.Rights.HasAny(imap.RightAdmin|imap.RightDeleteMailbox) != (r.Name == "admin") {
			t.Errorf("%s: %s", r.Name, r.Rights)
		}
		if got := RoleOf(r.Rights); got != r.Name {
			t.Errorf("%s is called %s", r.Rights, got)
		}
		if got := RoleOf(r.Rights &^ imap.RightLookup); got != CustomRole {
			t.Errorf("%s without l is called %s", r.Name, got)
		}
		before = r.Rights
	}
	if got := RoleOf(0); got != CustomRole {
		t.Errorf("no rights are called %s", got)
	}
	if got := RoleNames(); got != "read, triage, full, admin" {
		t.Error(got)
	}
}

func TestAdministered(t *testing.T) {
	for _, row := range []struct {
		entry mailbox.Entry
		want  bool
	}{
		{mailbox.Entry{Identifier: "user=alice", Rights: imap.AllRights}, true},
		{mailbox.Entry{Identifier: "group=staff", Rights: imap.RightLookup | imap.RightAdmin}, true},
		{mailbox.Entry{Identifier: "user=alice", Rights: imap.AllRights &^ imap.RightAdmin}, false},
		{mailbox.Entry{Identifier: "user=alice", Rights: imap.AllRights, Negative: true}, false},
		{mailbox.Entry{Identifier: "owner", Rights: imap.AllRights}, false},
		{mailbox.Entry{Identifier: "user=alice", Rights: imap.AllRights, Expires: 1 << 40}, false},
	} {
		if got := Administered([]mailbox.Entry{row.entry}); got != row.want {
			t.Errorf("%v: %v", row.entry, got)
		}
	}
}

// FuzzMember: what is shown of an identifier names it again, and what is accepted is an
// identifier that a file can have.
func FuzzMember(f *testing.F) {
	for _, s := range []string{"bob", "$team", "!$team", "anyone", "user=anyone", "user=$x", "user=group=x", "user=-x", "group=a b", "-bob", "owner", "user=#x", "", "$", "group-override=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lower := strings.ToLower
		id, err := ParseMember(text, lower)
		if err != nil {
			return
		}
		if err := imap.CheckIdentifier(id); err != nil && len(text) < imap.MaxIdentifier/2 {
			t.Errorf("%q became %q: %v", text, id, err)
		}
		if _, _, ok := split(id); !ok || id == idOwner || id[0] == '-' {
			t.Errorf("%q became %q", text, id)
		}
		shown := MemberName(id)
		if back, err := ParseMember(shown, lower); err != nil || back != id {
			t.Errorf("%q is shown as %q, which is %q, %v", id, shown, back, err)
		}
	})
}
