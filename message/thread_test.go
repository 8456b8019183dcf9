package message

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// threadMessage is a message as the tests of threads write it.
type threadMessage struct {
	uid           imap.UID
	sent, arrival int64
	id            string
	refs          []string
	subject       string
	reply         bool
}

func (m *threadMessage) keys() *Keys {
	k := &Keys{Sent: Date{Unix: m.sent, Valid: true}, Subject: []byte(m.subject), Reply: m.reply, References: ids(m.refs...)}
	if m.id != "" {
		k.ID = ids(m.id)[0]
	}
	return k
}

func threads(alg imap.ThreadAlgorithm, mails []threadMessage) []imap.ThreadMember {
	t := NewThreader(alg)
	for i := range mails {
		t.Add(mails[i].uid, mails[i].arrival, mails[i].keys())
	}
	return t.Threads()
}

// literalNode and what follows is RFC 5256's REFERENCES, written down as it
// stands there: with pointers, recursion and walks over all ancestors.
type literalNode struct {
	mail     *threadMessage // nil: dummy
	parent   *literalNode
	children []*literalNode
}

func (n *literalNode) descendsFrom(a *literalNode) bool {
	for ; n != nil; n = n.parent {
		if n == a {
			return true
		}
	}
	return false
}

func (n *literalNode) unlink() {
	if n.parent != nil {
		n.parent.children = slices.DeleteFunc(n.parent.children, func(c *literalNode) bool { return c == n })
		n.parent = nil
	}
}

func (n *literalNode) adopt(c *literalNode) {
	c.unlink()
	n.children, c.parent = append(n.children, c), n
}

// sortedBy is what n is sorted by: itself, or its first child.
func (n *literalNode) sortedBy() *threadMessage {
	if n.mail != nil {
		return n.mail
	}
	return n.children[0].mail
}

func bySent(a, b *literalNode) int {
	x, y := a.sortedBy(), b.sortedBy()
	if x.sent != y.sent {
		return int(x.sent - y.sent)
	}
	return int(x.uid) - int(y.uid)
}

func (n *literalNode) sortChildren() {
	for _, c := range n.children {
		c.sortChildren()
	}
	slices.SortFunc(n.children, bySent)
}

// literalTree is steps 1 to 3. Its children are the threads.
func literalTree(mails []threadMessage) *literalNode {
	table := map[string]*literalNode{}
	var all []*literalNode
	node := func(id string) *literalNode {
		if table[id] == nil {
			table[id] = &literalNode{}
			all = append(all, table[id])
		}
		return table[id]
	}
	for i := range mails {
		m := &mails[i]
		id := m.id
		if id == "" || table[id] != nil && table[id].mail != nil {
			id = fmt.Sprintf("unique %d", i)
		}
		self := node(id)
		self.mail = m
		var last *literalNode
		for _, ref := range m.refs { // (1)(A)
			n := node(ref)
			if last != nil && n.parent == nil && !last.descendsFrom(n) {
				last.adopt(n)
			}
			last = n
		}
		self.unlink() // (1)(B)
		if last != nil && !last.descendsFrom(self) {
			last.adopt(self)
		}
	}
	root := &literalNode{}
	for _, n := range all { // (2)
		if n.parent == nil {
			root.children = append(root.children, n)
		}
	}
	for _, n := range root.children {
		n.parent = root
	}
	literalPrune(root, true) // (3)
	return root
}

func literalPrune(n *literalNode, isRoot bool) {
	for _, c := range slices.Clone(n.children) {
		literalPrune(c, false)
		switch {
		case c.mail != nil:
		case len(c.children) == 0:
			c.unlink()
		case !isRoot || len(c.children) == 1:
			for _, grandchild := range slices.Clone(c.children) {
				n.adopt(grandchild)
			}
			c.unlink()
		}
	}
}

// literalMerge is steps 4 and 5.
func literalMerge(root *literalNode) {
	for _, c := range root.children {
		if c.mail == nil {
			slices.SortFunc(c.children, bySent)
		}
	}
	slices.SortFunc(root.children, bySent)
	table := map[string]*literalNode{}
	roots := slices.Clone(root.children)
	for _, c := range roots {
		s := c.sortedBy().subject
		old := table[s]
		switch {
		case s == "":
		case old == nil:
			table[s] = c
		case old.mail != nil && (c.mail == nil || old.mail.reply && !c.mail.reply):
			table[s] = c
		}
	}
	for _, c := range roots {
		s := c.sortedBy().subject
		old := table[s]
		switch {
		case s == "" || old == c:
		case old.mail == nil && c.mail == nil:
			for _, child := range slices.Clone(c.children) {
				old.adopt(child)
			}
			c.unlink()
		case old.mail == nil, c.mail.reply && !old.mail.reply:
			old.adopt(c)
		default:
			dummy := &literalNode{}
			root.adopt(dummy)
			dummy.adopt(old)
			dummy.adopt(c)
			table[s] = dummy
		}
	}
}

func (n *literalNode) latest() *threadMessage {
	latest := n.mail
	for _, c := range n.children {
		m := c.latest()
		if latest == nil || m.arrival > latest.arrival || m.arrival == latest.arrival && m.uid > latest.uid {
			latest = m
		}
	}
	return latest
}

func (n *literalNode) members(depth uint32) (out []imap.ThreadMember) {
	for _, c := range n.children {
		m := imap.ThreadMember{Depth: depth}
		if c.mail != nil {
			m.UID = c.mail.uid
		}
		out = append(append(out, m), c.members(depth+1)...)
	}
	return out
}

func literalThreads(alg imap.ThreadAlgorithm, mails []threadMessage) []imap.ThreadMember {
	root := &literalNode{}
	switch alg {
	case imap.ThreadOrderedSubject:
		bySubject := map[string]*literalNode{}
		sorted := slices.Clone(mails)
		slices.SortStableFunc(sorted, func(a, b threadMessage) int { return int(a.sent - b.sent) })
		for i := range sorted {
			n := &literalNode{mail: &sorted[i]}
			if first := bySubject[sorted[i].subject]; first != nil {
				first.adopt(n)
			} else {
				bySubject[sorted[i].subject] = n
				root.adopt(n)
			}
		}
	case imap.ThreadReferences:
		root = literalTree(mails)
		literalMerge(root)
		root.sortChildren()
	case imap.ThreadRefs:
		root = literalTree(mails)
		root.sortChildren()
		slices.SortFunc(root.children, func(a, b *literalNode) int {
			x, y := a.latest(), b.latest()
			if x.arrival != y.arrival {
				return int(x.arrival - y.arrival)
			}
			return int(x.uid) - int(y.uid)
		})
	}
	return root.members(0)
}

// TestThreadsLiterally compares with the algorithms as they are written down, on
// mail at random: few IDs, so that there are cycles, duplicates, gaps and
// contradictions in plenty.
func TestThreadsLiterally(t *testing.T) {
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		mails := randomThreads(r)
		for _, alg := range imap.ThreadAlgorithms() {
			got, want := threads(alg, mails), literalThreads(alg, mails)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s:\n%+v\ngot  %v\nwant %v", seed, alg, mails, got, want)
			}
		}
	}
}

func randomThreads(r *rand.Rand) []threadMessage {
	idCount, subjects, dates := 1+r.IntN(12), 1+r.IntN(6), 1+r.IntN(8)
	id := func() string { return fmt.Sprintf("%d@x", r.IntN(idCount)) }
	mails := make([]threadMessage, r.IntN(14))
	for i := range mails {
		m := &mails[i]
		m.uid, m.sent, m.arrival = imap.UID(i+1), int64(r.IntN(dates)), int64(r.IntN(dates))
		if r.IntN(6) > 0 {
			m.id = id()
		}
		for range r.IntN(5) {
			m.refs = append(m.refs, id())
		}
		if s := r.IntN(subjects); s > 0 {
			m.subject = fmt.Sprint("subject ", s)
		}
		m.reply = r.IntN(2) == 0
	}
	return mails
}

// TestThreads are the rules one by one, in the notation of the response.
func TestThreads(t *testing.T) {
	at := func(uid imap.UID, id, refs, subject string) threadMessage {
		m := threadMessage{uid: uid, sent: int64(uid), arrival: int64(uid), id: id, refs: strings.Fields(refs)}
		m.subject, m.reply = strings.TrimPrefix(subject, "re "), strings.HasPrefix(subject, "re ")
		return m
	}
	for _, c := range []struct {
		name string
		alg  imap.ThreadAlgorithm
		mail []threadMessage
		want string
	}{
		{"Chain", "REFERENCES", []threadMessage{at(1, "a", "", "s"), at(2, "b", "a", "re s"), at(3, "c", "a b", "re s")}, "0:1 1:2 2:3"},
		{"ReplyFirst", "REFERENCES", []threadMessage{at(1, "b", "a", "re s"), at(2, "a", "", "s")}, "0:2 1:1"},
		{"MissingParent", "REFERENCES", []threadMessage{at(1, "b", "a", "x"), at(2, "c", "a", "y")}, "0:0 1:1 1:2"},
		{"MissingParentOfOne", "REFERENCES", []threadMessage{at(1, "b", "a", "x")}, "0:1"},
		{"MissingMiddle", "REFERENCES", []threadMessage{at(1, "a", "", "x"), at(2, "c", "a b", "y")}, "0:1 1:2"},
		{"DuplicateID", "REFERENCES", []threadMessage{at(1, "a", "", "x"), at(2, "a", "", "y"), at(3, "c", "a", "z")}, "0:1 1:3 0:2"},
		{"Itself", "REFERENCES", []threadMessage{at(1, "a", "a", "x")}, "0:1"},
		{"Cycle", "REFERENCES", []threadMessage{at(1, "a", "b", "x"), at(2, "b", "a", "y")}, "0:2 1:1"},
		{"OwnWordCounts", "REFERENCES", []threadMessage{at(1, "c", "a b", "x"), at(2, "b", "z", "y"), at(3, "a", "", "w")}, "0:2 1:1 0:3"},
		{"SubjectJoins", "REFERENCES", []threadMessage{at(1, "a", "", "s"), at(2, "b", "", "re s")}, "0:1 1:2"},
		{"SubjectReplyFirst", "REFERENCES", []threadMessage{at(1, "a", "", "re s"), at(2, "b", "", "s")}, "0:2 1:1"},
		{"SubjectEquals", "REFERENCES", []threadMessage{at(1, "a", "", "s"), at(2, "b", "", "s"), at(3, "c", "", "re s")}, "0:0 1:1 1:2 1:3"},
		{"NoSubject", "REFERENCES", []threadMessage{at(1, "a", "", ""), at(2, "b", "", "")}, "0:1 0:2"},
		{"RefsNoSubject", "REFS", []threadMessage{at(1, "a", "", "s"), at(2, "b", "", "re s")}, "0:1 0:2"},
		{"RefsNewestLast", "REFS", []threadMessage{at(1, "a", "", "s"), at(2, "b", "", "t"), at(3, "c", "a", "u")}, "0:2 0:1 1:3"},
		{"OrderedSubject", "ORDEREDSUBJECT", []threadMessage{at(1, "", "", "b"), at(2, "", "", "a"), at(3, "", "", "re b"), at(4, "", "", "b")}, "0:1 1:3 1:4 0:2"},
	} {
		var got []string
		for _, m := range threads(c.alg, c.mail) {
			got = append(got, fmt.Sprintf("%d:%d", m.Depth, m.UID))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %s, want %s", c.name, strings.Join(got, " "), c.want)
		}
	}
}

// hostileThreads are mails that make simple ways of finding threads slow.
func hostileThreads(kind string, n int) []threadMessage {
	mails := make([]threadMessage, n)
	id := func(i int) string { return fmt.Sprintf("%d@x", i) }
	for i := range mails {
		m := &mails[i]
		*m = threadMessage{uid: imap.UID(i + 1), sent: int64(i), arrival: int64(i), id: id(i), subject: fmt.Sprint(i)}
		switch kind {
		case "usual": // threads of ten
			for j := i - i%10; j < i; j++ {
				m.refs = append(m.refs, id(j))
			}
			m.subject, m.reply = fmt.Sprint(i/10), i%10 > 0
		case "chain": // each names the ten before it
			for j := max(0, i-10); j < i; j++ {
				m.refs = append(m.refs, id(j))
			}
		case "backwards": // each names the one after it, whose ancestors it is then
			m.refs = []string{id(i + 1)}
		case "cycles": // links that would close a circle as long as the mailbox
			m.refs = []string{id(i), id((i + 1) % n), id(0)}
		case "truncated": // contradicting parents: links are cut and made anew
			m.refs = []string{id(n - i), id(i / 2), id(i + 1), id(i / 3)}
		case "one": // one message with very many references
			if i == n-1 {
				for j := range MaxReferences {
					m.refs = append(m.refs, id(j*7%n))
				}
			}
		case "subject": // all of one subject
			m.subject = "s"
		case "comb": // as deep as half the mailbox, with a sibling at each step
			m.refs = []string{id(max(0, i-1-i%2))}
		}
	}
	return mails
}

var hostileKinds = []string{"usual", "chain", "backwards", "cycles", "truncated", "one", "subject", "comb"}

func TestHostileThreads(t *testing.T) {
	for _, kind := range hostileKinds {
		mails := hostileThreads(kind, 300)
		for _, alg := range imap.ThreadAlgorithms() {
			if got, want := threads(alg, mails), literalThreads(alg, mails); !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %v\nwant %v", kind, alg, got, want)
			}
		}
	}
}

// BenchmarkThread100k is the algorithm alone; it should cost about the same for
// all kinds of mail.
func BenchmarkThread100k(b *testing.B) {
	for _, kind := range hostileKinds {
		mails := hostileThreads(kind, 100_000)
		keys := make([]*Keys, len(mails))
		for i := range mails {
			keys[i] = mails[i].keys()
		}
		for _, alg := range imap.ThreadAlgorithms() {
			b.Run(kind+"/"+string(alg), func(b *testing.B) {
				for b.Loop() {
					t := NewThreader(alg)
					for i := range mails {
						t.Add(mails[i].uid, mails[i].arrival, keys[i])
					}
					if len(t.Threads()) < len(mails) {
						b.Fatal("messages are missing")
					}
				}
			})
		}
	}
}

// TestDummiesAreBounded: what names messages that nobody has fills no memory.
func TestDummiesAreBounded(t *testing.T) {
	threader := NewThreader(imap.ThreadReferences)
	k := &Keys{References: make([]messageID, MaxReferences)}
	next := messageID(1)
	for uid := range imap.UID(200) {
		for i := range k.References {
			k.References[i] = next
			next++
		}
		threader.Add(uid+1, 0, k)
	}
	if n := len(threader.nodes); n > maxDummies+2*dummiesEach*200 {
		t.Errorf("there are %d nodes", n)
	}
	if got := threader.Threads(); len(got) != 200 {
		t.Errorf("%d messages are in threads", len(got))
	}
}
