package imapclient_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// told is what h hears when a server says said in answer to a command, and
// whether the connection lives on.
func told(t testing.TB, h *imapclient.Handler, said string) error {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		_, _ = io.WriteString(server, "* OK hello\r\n")
		_, _ = bufio.NewReader(server).ReadString('\n')
		_, _ = io.WriteString(server, said+"\r\nR1 OK\r\n")
		_ = server.Close()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := imapclient.New(ctx, client, imapclient.Config{Limits: imapwire.Limits{Line: 4 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Do(ctx, h, func(e *imapwire.Encoder) { e.RawString("NOOP") })
	return err
}

func TestOrder(t *testing.T) {
	for _, c := range []struct{ said, want string }{
		{"* SORT", "[] 0"},
		{"* SORT 5 3 4 1 ", "[{5 5} {3 4} {1 1}] 0"},
		{"* SORT 2 (MODSEQ 9)", "[{2 2}] 9"},
		{`* ESEARCH (TAG "R1") UID ALL 5,3:4,1 MODSEQ 9`, "[{5 5} {3 4} {1 1}] 9"},
		{`* ESEARCH (TAG "R1") UID MIN 1 COUNT 3 X (a b)`, "[] 0"},
		{"* ESEARCH UID ALL 4:2", "[{2 4}] 0"},
		{"* ESEARCH UID ALL 0", "broken"},
		{"* ESEARCH UID ALL *", "broken"},
		{"* SORT x", "[] 0"},
		{"* THREAD", "[]"},
		{"* THREAD (2)(3 6 (4 23)(44 7 96))", "[{2 0} {3 0} {6 1} {4 2} {23 3} {44 2} {7 3} {96 4}]"},
		{"* THREAD ((3)(5))(7)", "[{0 0} {3 1} {5 1} {7 0}]"},
		{"* THREAD (1 ((2)(3))(4))", "[{1 0} {0 1} {2 2} {3 2} {4 1}]"},
		{"* THREAD ()", "broken"},
		{"* THREAD (1", "broken"},
		{"* THREAD (0)", "broken"},
		{"* THREAD (1 (2)", "broken"},
		{"* THREAD " + strings.Repeat("(", 1<<19) + "1" + strings.Repeat(")", 1<<19), "many"},
		{"* THREAD " + strings.Repeat("(", 1<<20+1), "broken"},
	} {
		var got string
		h := &imapclient.Handler{
			Sort: func(r []imap.Range, m imap.ModSeq) { got = fmt.Sprint(r, m) },
			Thread: func(l []imap.ThreadMember) {
				if got = fmt.Sprint(l); len(l) > 1000 {
					got = "many"
				}
			},
		}
		if err := told(t, h, c.said); err != nil {
			got = "broken"
		}
		if got != c.want {
			t.Errorf("%.100s: got %s, want %s", c.said, got, c.want)
		}
	}
}

// FuzzOrder has a server say any SORT, ESEARCH or THREAD: what is taken for
// threads is a forest.
func FuzzOrder(f *testing.F) {
	for _, s := range []string{"SORT 1 2", "THREAD (2)(3 6 (4 23)(44 7 96))((3)(5))", "ESEARCH UID ALL 3,1:2 MODSEQ 4", "THREAD ((((", "THREAD (1 (2)) 3)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, said string) {
		h := &imapclient.Handler{
			Sort: func(ranges []imap.Range, _ imap.ModSeq) {
				for _, r := range ranges {
					if r.Stop < r.Start {
						t.Fatalf("%q: %v", said, ranges)
					}
				}
			},
			Thread: func(list []imap.ThreadMember) {
				last := int64(-1)
				for _, m := range list {
					if int64(m.Depth) > last+1 {
						t.Fatalf("%q: no forest: %v", said, list)
					}
					last = int64(m.Depth)
				}
			},
		}
		_ = told(t, h, "* "+said)
	})
}

// TestLongSets: the set of an ESEARCH may be as torn as the mailbox is.
func TestLongSets(t *testing.T) {
	const n = 30_000
	var set strings.Builder
	for i := range n {
		fmt.Fprintf(&set, ",%d", 2*i+1)
	}
	var got imap.UIDSet
	h := &imapclient.Handler{Search: func(uids imap.UIDSet, _ imap.ModSeq) { got = uids }}
	if err := told(t, h, "* ESEARCH UID ALL "+set.String()[1:]); err != nil || got.Len() != n {
		t.Errorf("got %d messages, %v", got.Len(), err)
	}
}
