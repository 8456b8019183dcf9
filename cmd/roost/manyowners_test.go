package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dictfile"
)

const (
	manyOwners = 500
	manyBoxes  = 3
)

// manyShare writes what 500 owners, half of them on each backend, share with someone2 into the
// sharing index.
func manyShare(t testing.TB, r *rig) {
	t.Helper()
	d, err := dictfile.Open(r.sharedDict(), dictfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var changes []dict.Change
	for i := range manyOwners {
		owner := fmt.Sprintf("owner%03d", i)
		changes = append(changes, dict.Set("shared/shared-boxes/user/someone2/"+owner, "1"), dict.Set("shared/roost/owner/"+owner, "1 1"))
		for _, name := range []string{"INBOX", "Projects", dict.Escape("Projects/Roost")} {
			changes = append(changes, dict.Set("shared/roost/box/"+owner+"/"+name, "user=someone2 lrs\n"))
		}
	}
	if err := d.Commit(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
}

// TestListAsksNobody lists what 500 owners share, while one of the two backends is
// stopped: no owner is asked, whatever kind of LIST it is.
func TestListAsksNobody(t *testing.T) {
	r := startRig(t, "rig")
	manyShare(t, r)
	r.stop(t, "be1")
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone2 " + r.password("someone2"))
	c.expect("OK")
	for _, row := range []struct {
		command, line string
		count         int
	}{
		{`LIST "" "*"`, "* LIST ", manyOwners * manyBoxes},
		{`LIST "" "shared/owner00%/%"`, "* LIST ", 10},
		{`LIST () "" (shared/*) RETURN (CHILDREN SUBSCRIBED)`, "* LIST ", manyOwners * manyBoxes},
		{`LIST "" "shared/*" RETURN (MYRIGHTS)`, "* MYRIGHTS ", manyOwners * manyBoxes},
		{`LSUB "" "shared/*"`, "* LSUB ", 0},
		{`SUBSCRIBE shared/owner000/Projects`, "", 0},
		{`LSUB "" "shared/*"`, "* LSUB ", 1},
	} {
		c.command(row.command)
		c.expect("OK")
		n := 0
		for _, line := range c.answer {
			if row.line != "" && strings.HasPrefix(line, row.line) && strings.Contains(line, "shared/owner") {
				n++
			}
		}
		if n != row.count {
			t.Errorf("%s: %d lines %q, want %d", row.command, n, row.line, row.count)
		}
	}
	if n := r.nodes["be2"].hops.Connections.Load(); n != 0 {
		t.Errorf("%d connections were made to owners", n)
	}
}

// BenchmarkListManyOwners is LIST "" "*" of one with whom 500 owners share three mailboxes each.
func BenchmarkListManyOwners(b *testing.B) {
	r := startRig(b, "rig")
	manyShare(b, r)
	c, err := dialLines(b.Context(), "", r.address())
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	for _, command := range []string{"LOGIN someone2 " + r.password("someone2")} {
		if _, err := c.ok("%s", command); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := c.ok(`LIST "" "*"`); err != nil {
			b.Fatal(err)
		}
	}
	if n := r.nodes["be2"].hops.Connections.Load(); n != 0 {
		b.Errorf("%d connections were made to owners", n)
	}
}
