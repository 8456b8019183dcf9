package imapserver

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/roost-mail/roost/imap"
)

// TestViewAgainstList drives a view and a plain list of UIDs with the same
// changes. The list is what a client keeps, so its EXPUNGEs go one by one.
func TestViewAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []imap.UID
		next := imap.UID(1)
		grow := func(label string) imap.UIDSet {
			next += imap.UID(rapid.IntRange(0, 3).Draw(t, label+" gap"))
			n := imap.UID(rapid.IntRange(0, 5).Draw(t, label))
			uids := imap.UIDRange(next, next+n-1)
			for range n {
				list = append(list, next)
				next++
			}
			return uids
		}
		told := grow("selected")
		v := newView(told, told)
		t.Repeat(map[string]func(*rapid.T){
			"new messages": func(*rapid.T) {
				uids := grow("new")
				v.add(uids, uids)
				v.add(uids, uids) // twice is once
			},
			"vanish": func(t *rapid.T) {
				v.vanish(imap.UIDSetOf(rapid.SliceOf(rapid.Custom(func(t *rapid.T) imap.UID {
					return imap.UID(rapid.Uint32Range(1, uint32(next)+2).Draw(t, "uid"))
				})).Draw(t, "uids")...))
			},
			"tell": func(t *rapid.T) {
				gone := v.gone
				seqs := slices.Collect(v.expunge().All())
				for _, seq := range slices.Backward(seqs) {
					if !gone.Contains(list[seq-1]) {
						t.Fatalf("EXPUNGE %d removes %d, which is there", seq, list[seq-1])
					}
					list = slices.Delete(list, int(seq-1), int(seq))
				}
				if len(seqs) != gone.Len() {
					t.Fatalf("told %v for %v", seqs, gone)
				}
			},
			"": func(t *rapid.T) { compareView(t, v, list, uint32(next)+2) },
		})
	})
}

func compareView(t *rapid.T, v *view, list []imap.UID, limit uint32) {
	if int(v.count()) != len(list) {
		t.Fatalf("count is %d, want %d", v.count(), len(list))
	}
	for uid := imap.UID(1); uid <= imap.UID(limit); uid++ {
		if got, want := v.seq(uid), imap.SeqNum(slices.Index(list, uid)+1); got != want {
			t.Fatalf("seq(%d) = %d, want %d of %v", uid, got, want, list)
		}
		if v.recent.Contains(uid) != slices.Contains(list, uid) {
			t.Fatalf("%d: recent is %v", uid, v.recent)
		}
	}
	lo := rapid.Uint32Range(1, limit).Draw(t, "lo")
	hi := rapid.Uint32Range(lo, limit).Draw(t, "hi")
	some := imap.UIDRange(imap.UID(lo), imap.UID(hi))
	var uids, seqs []imap.UID
	for i, uid := range list {
		if some.Contains(imap.UID(i + 1)) {
			uids = append(uids, uid)
		}
		if some.Contains(uid) {
			seqs = append(seqs, imap.UID(i+1))
		}
	}
	// A run of numbers is a run of UIDs; of those the client knows, it has the right ones.
	exist := some.Intersect(imap.UIDRange(1, imap.UID(len(list))))
	if got := v.uidsOf(exist); got.Intersect(v.uids).String() != imap.UIDSetOf(uids...).String() || len(got) != len(exist) {
		t.Fatalf("uidsOf(%v) = %s, want %v", exist, got, uids)
	}
	if got := v.countOf(some); got != len(seqs) {
		t.Fatalf("countOf(%v) = %d, want %d", some, got, len(seqs))
	}
	if got := v.seqsOf(some).String(); got != imap.UIDSetOf(seqs...).String() {
		t.Fatalf("seqsOf(%v) = %s, want %v", some, got, seqs)
	}
}

// TestViewResolve: what a set names in a mailbox with UIDs 3, 4 and 9.
func TestViewResolve(t *testing.T) {
	full := newView(imap.UIDSetOf(3, 4, 9), nil)
	empty := newView(nil, nil)
	for _, row := range []struct {
		view  *view
		set   string
		isUID bool
		want  string // "BAD" for an error
	}{
		{full, "1:2", false, "3:4"},
		{full, "1:3", false, "3:9"}, // 5 to 8 are no messages
		{full, "*", false, "9"},
		{full, "3,1", false, "3,9"},
		{full, "2:*", false, "4:9"},
		{full, "4", false, "BAD"},
		{full, "4:*", false, "BAD"},
		{full, "1:4", false, "BAD"},
		{full, "*", true, "9"},
		{full, "1:5", true, "1:5"},
		{full, "5:100", true, "5:9"},
		{full, "100:*", true, "9"},
		{full, "100", true, ""},
		{empty, "1:*", false, ""},
		{empty, "*", false, ""},
		{empty, "1", false, "BAD"},
		{empty, "1:*", true, ""},
	} {
		set, err := imap.ParseNumSet(row.set)
		if err != nil {
			t.Fatal(err)
		}
		got, err := row.view.resolve(set, row.isUID)
		switch {
		case err != nil && imap.AsError(err).Bad && row.want == "BAD":
		case err != nil || got.String() != row.want:
			t.Errorf("%s (UID %v): %v, %v; want %q", row.set, row.isUID, got, err, row.want)
		}
	}
}
