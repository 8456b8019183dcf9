package message

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// Threader finds threads as THREAD does. RFC 5256 section 3, and
// draft-ietf-morg-inthread-01 section 4. Its time is in proportion to the number
// of messages and references, but for a logarithm.
type Threader struct {
	alg      imap.ThreadAlgorithm
	nodes    []threadNode
	byID     map[messageID]int32
	links    linkCut
	messages int
	subjects []byte // of all nodes
}

// Of messages that are only named, so many are kept apart. With more, it is mail
// that was made to fill our memory, and further names are passed over.
const (
	maxDummies  = 1 << 20
	dummiesEach = 4 // for each message more
)

// threadNode is a message, or a dummy for one that is only known from references.
type threadNode struct {
	uid           imap.UID // 0: dummy
	sent, arrival int64
	id            messageID
	parent        int32
	children      int32 // how many nodes have it as parent
	next          int32 // what came after it in the last References that named it
	reply         bool
	subject       span // in subjects
}

// NewThreader finds threads by one of imap.ThreadAlgorithms.
func NewThreader(alg imap.ThreadAlgorithm) *Threader {
	return &Threader{alg: alg, byID: map[messageID]int32{}}
}

// Add adds a message, in order of UID; arrival is its internal date in seconds
// since 1970. Of k nothing is kept.
func (t *Threader) Add(uid imap.UID, arrival int64, k *Keys) {
	if t.alg == imap.ThreadOrderedSubject {
		t.fill(t.node(0), uid, arrival, k)
		return
	}
	self := t.own(k.ID)
	t.fill(self, uid, arrival, k)
	parent := t.linkAll(k.References)
	t.cut(self)
	if parent != noNode {
		t.link(parent, self)
	}
}

func (t *Threader) fill(i int32, uid imap.UID, arrival int64, k *Keys) {
	t.messages++
	n := &t.nodes[i]
	n.uid, n.arrival, n.sent, n.reply = uid, arrival, k.sent(arrival), k.Reply
	if t.alg != imap.ThreadRefs {
		from := len(t.subjects)
		t.subjects = append(t.subjects, k.Subject...)
		n.subject = span{from, len(t.subjects)}
	}
}

// node makes a dummy.
func (t *Threader) node(id messageID) int32 {
	i := int32(len(t.nodes))
	t.nodes = append(t.nodes, threadNode{id: id, parent: noNode, next: noNode})
	if t.alg != imap.ThreadOrderedSubject {
		t.links.add()
	}
	if id != 0 {
		t.byID[id] = i
	}
	return i
}

// own finds the node of a new message. Only the first with an ID has it.
func (t *Threader) own(id messageID) int32 {
	if id == 0 {
		return t.node(0)
	}
	i, known := t.byID[id]
	switch {
	case !known:
		return t.node(id)
	case t.nodes[i].uid != 0:
		return t.node(0)
	}
	return i
}

// linkAll is step 1.A. It returns the last reference.
func (t *Threader) linkAll(references []messageID) int32 {
	last := noNode
	for _, id := range references {
		i := t.named(id, last)
		if i == noNode {
			continue
		}
		if last != noNode {
			t.nodes[last].next = i
			if t.nodes[i].parent == noNode {
				t.link(last, i)
			}
		}
		last = i
	}
	return last
}

// named finds the node of an ID, or noNode if it is one dummy too many. Most
// References repeat those of the message before, so that it is mostly known what
// comes after last.
func (t *Threader) named(id messageID, last int32) int32 {
	if last != noNode {
		if guess := t.nodes[last].next; guess != noNode && t.nodes[guess].id == id {
			return guess
		}
	}
	if i, known := t.byID[id]; known {
		return i
	}
	if len(t.nodes) > maxDummies+dummiesEach*t.messages {
		return noNode
	}
	return t.node(id)
}

// link makes parent the parent of child, which has none, unless parent is below
// it.
func (t *Threader) link(parent, child int32) {
	c := &t.nodes[child]
	if parent == child || c.children > 0 && t.links.root(parent) == child {
		return
	}
	t.links.link(parent, child)
	c.parent = parent
	t.nodes[parent].children++
}

func (t *Threader) cut(child int32) {
	c := &t.nodes[child]
	if c.parent == noNode {
		return
	}
	t.links.cut(child)
	t.nodes[c.parent].children--
	c.parent = noNode
}

func (t *Threader) subject(i int32) string {
	s := t.nodes[i].subject
	return string(t.subjects[s.from:s.to])
}

// Threads are the threads of all that was added; it is called once. Members that are not there
// (UID 0) have depth 0 and two or more below them.
func (t *Threader) Threads() []imap.ThreadMember {
	if t.alg == imap.ThreadOrderedSubject {
		return t.bySubject()
	}
	f := t.prune()
	if t.alg == imap.ThreadRefs {
		return f.members(f.newest())
	}
	f.mergeSubjects()
	return f.members(f.rank)
}

// bySubject is ORDEREDSUBJECT.
func (t *Threader) bySubject() []imap.ThreadMember {
	nodes := t.nodes
	slices.SortFunc(nodes, func(a, b threadNode) int {
		x, y := t.subjects[a.subject.from:a.subject.to], t.subjects[b.subject.from:b.subject.to]
		return cmp.Or(bytes.Compare(x, y), compareSent(&a, &b))
	})
	var threads [][]threadNode
	for len(nodes) > 0 {
		n := 1
		for n < len(nodes) && t.sameSubject(&nodes[0], &nodes[n]) {
			n++
		}
		threads = append(threads, nodes[:n])
		nodes = nodes[n:]
	}
	slices.SortFunc(threads, func(a, b []threadNode) int { return compareSent(&a[0], &b[0]) })
	out := make([]imap.ThreadMember, 0, len(t.nodes))
	for _, thread := range threads {
		for i := range thread {
			out = append(out, imap.ThreadMember{UID: thread[i].uid, Depth: uint32(min(i, 1))})
		}
	}
	return out
}

func (t *Threader) sameSubject(a, b *threadNode) bool {
	return string(t.subjects[a.subject.from:a.subject.to]) == string(t.subjects[b.subject.from:b.subject.to])
}

func compareSent(a, b *threadNode) int {
	return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(a.uid, b.uid))
}
