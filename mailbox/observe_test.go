package mailbox

import (
	"slices"
	"strconv"
	"testing"

	"github.com/roost-mail/roost/imap"
)

func TestMetadataLog(t *testing.T) {
	var l MetadataLog[int]
	names := func(box int) (string, bool) { return "box" + strconv.Itoa(box), box != 3 }
	for range 2 {
		for range 2 * MaxMetadataChanges {
			l.Add(2, "/shared/b")
			l.Add(2, "/shared/a")
			l.Add(1, "/shared/c")
			l.Add(3, "/shared/gone")
		}
		got, err := l.Take(names)
		want := []MetadataChange{{"box1", "/shared/c"}, {"box2", "/shared/a"}, {"box2", "/shared/b"}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v", got, err)
		}
		for i := range MaxMetadataChanges + 1 {
			l.Add(1, strconv.Itoa(i))
		}
		l.Add(1, "more")
		if got, err := l.Take(names); imap.CodeOf(err) != imap.CodeLimit || len(got) > 0 || len(l.changed) > 0 {
			t.Errorf("overflow: got %v, %v", got, err)
		}
	}
}
