package imapserver

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// threadLine is the THREAD response that tells list, to a client that knows all.
func threadLine(t testing.TB, list []imap.ThreadMember, known uint32) []byte {
	t.Helper()
	var out bytes.Buffer
	s := &session{enc: imapwire.NewEncoder(&out), view: newView(imap.UIDRange(1, imap.UID(known)), nil)}
	s.writeThreads(&command{row: &row{flags: byUID}}, list)
	if err := s.enc.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readThreads is what a client makes of a THREAD response.
func readThreads(t testing.TB, line []byte) (list []imap.ThreadMember) {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		_, _ = server.Write([]byte("* OK hello\r\n"))
		go func() { _, _ = io.Copy(io.Discard, server) }()
		_, _ = server.Write(line)
		_, _ = server.Write([]byte("R1 OK\r\n"))
	}()
	defer server.Close()
	c, err := imapclient.New(context.Background(), client, imapclient.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := &imapclient.Handler{Thread: func(l []imap.ThreadMember) { list = l }}
	if _, err := c.Do(context.Background(), h, func(e *imapwire.Encoder) { e.RawString("NOOP") }); err != nil {
		t.Fatalf("%.200s: %v", line, err)
	}
	return list
}

// randomForest has messages that are missing at the top, as homes tell them.
func randomForest(r *rand.Rand, n int) (list []imap.ThreadMember) {
	depth := uint32(0)
	for uid := 1; uid <= n; uid++ {
		depth = uint32(r.IntN(int(depth) + 1))
		if depth == 0 && r.IntN(4) == 0 && uid < n {
			list = append(list, imap.ThreadMember{}, imap.ThreadMember{UID: imap.UID(uid), Depth: 1})
			uid++
			depth = 1
		}
		list = append(list, imap.ThreadMember{UID: imap.UID(uid), Depth: depth})
		depth++
	}
	return list
}

func TestThreadResponse(t *testing.T) {
	at := func(depth uint32, uid imap.UID) imap.ThreadMember { return imap.ThreadMember{UID: uid, Depth: depth} }
	for _, c := range []struct {
		list []imap.ThreadMember
		want string
	}{
		{nil, "* THREAD\r\n"},
		// RFC 5256 section 4.
		{[]imap.ThreadMember{at(0, 2), at(0, 3), at(1, 6), at(2, 4), at(3, 23), at(2, 44), at(3, 7), at(4, 96)}, "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n"},
		{[]imap.ThreadMember{at(0, 0), at(1, 3), at(1, 5)}, "* THREAD ((3)(5))\r\n"},
		{[]imap.ThreadMember{at(0, 0), at(1, 3)}, "* THREAD (3)\r\n"},
		{[]imap.ThreadMember{at(0, 1), at(1, 2), at(2, 3), at(1, 4), at(0, 5)}, "* THREAD (1 (2 3)(4))(5)\r\n"},
	} {
		if got := threadLine(t, c.list, 100); string(got) != c.want {
			t.Errorf("%v: got %q, want %q", c.list, got, c.want)
		}
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		list := randomForest(r, 1+r.IntN(40))
		line := threadLine(t, list, 100)
		if got := readThreads(t, line); !slices.Equal(got, list) {
			t.Fatalf("seed %d: %s\ngot  %v\nwant %v", seed, line, got, list)
		}
	}
}

// TestDeepThreads: a thread as deep as the mailbox is large costs no more than
// any other, on both sides.
func TestDeepThreads(t *testing.T) {
	const n = 100_000
	chain, comb := make([]imap.ThreadMember, n), make([]imap.ThreadMember, n)
	for i := range n {
		chain[i] = imap.ThreadMember{UID: imap.UID(i + 1), Depth: uint32(i)}
		comb[i] = imap.ThreadMember{UID: imap.UID(i + 1), Depth: uint32(i+1) / 2}
	}
	for i := 1; i+1 < n; i += 2 { // the leaf comes before the branch that goes on
		comb[i].Depth, comb[i+1].Depth = uint32(i+1)/2, uint32(i+1)/2
	}
	for name, list := range map[string][]imap.ThreadMember{"chain": chain, "comb": comb} {
		line := threadLine(t, list, n)
		if len(line) > 9*n {
			t.Errorf("%s: the response has %d bytes", name, len(line))
		}
		if got := readThreads(t, line); !slices.Equal(got, list) {
			t.Errorf("%s: got %d members", name, len(got))
		}
	}
}

func TestPruneThreads(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 4))
		list := randomForest(r, 1+r.IntN(30))
		keep := func(uid imap.UID) bool { return uint64(uid)*(seed+3)%5 > 1 }
		var want []imap.UID
		for _, m := range list {
			if m.UID != 0 && keep(m.UID) {
				want = append(want, m.UID)
			}
		}
		pruned := imap.PruneThreads(slices.Clone(list), keep)
		var got []imap.UID
		last := int64(-1)
		for i, m := range pruned {
			if m.UID != 0 {
				got = append(got, m.UID)
			} else if i+1 == len(pruned) || pruned[i+1].Depth == 0 {
				t.Fatalf("seed %d: an empty thread in %v", seed, pruned)
			}
			if int64(m.Depth) > last+1 || m.UID == 0 && m.Depth > 0 {
				t.Fatalf("seed %d: no forest: %v", seed, pruned)
			}
			last = int64(m.Depth)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
	}
}
