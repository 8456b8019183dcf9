package message

import (
	"cmp"
	"math"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// forest is what is left of a Threader's nodes after step 3: dummies are at the
// top only, and have two messages or more below them.
type forest struct {
	threader *Threader
	parent   []int32 // noNode: at the top
	gone     []bool  // of dummies: not in the forest
	rank     []int32 // of messages: their place by sent date; of dummies that of their first child
	sorted   []int32 // messages by rank
}

const noRank = int32(math.MaxInt32)

// prune is steps 2 and 3. A message's parent is the nearest message above it,
// else the dummy at the top, unless that has nothing else below it.
func (t *Threader) prune() *forest {
	f := &forest{threader: t, parent: make([]int32, len(t.nodes)), gone: make([]bool, len(t.nodes))}
	for i := range f.parent {
		f.parent[i] = noNode
	}
	below := make([]int32, len(t.nodes)) // of dummies at the top
	above := t.dummiesAbove()
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.uid == 0 || n.parent == noNode {
			continue
		}
		f.parent[i] = above[n.parent]
		below[above[n.parent]]++
	}
	for i := range t.nodes {
		f.gone[i] = t.nodes[i].uid == 0 && below[i] < 2
	}
	for i, p := range f.parent {
		if p != noNode && f.gone[p] {
			f.parent[i] = noNode
		}
	}
	f.sortMessages()
	return f
}

// dummiesAbove finds for each node the nearest message at or above it, or else
// the dummy at the top.
func (t *Threader) dummiesAbove() []int32 {
	above := make([]int32, len(t.nodes))
	for i := range above {
		above[i] = noNode
	}
	var path []int32
	for i := range t.nodes {
		at := int32(i)
		for above[at] == noNode && t.nodes[at].uid == 0 && t.nodes[at].parent != noNode {
			path = append(path, at)
			at = t.nodes[at].parent
		}
		if above[at] == noNode {
			above[at] = at
		}
		for _, n := range path {
			above[n] = above[at]
		}
		path = path[:0]
	}
	return above
}

// sortMessages ranks messages by sent date, and dummies by their first child.
func (f *forest) sortMessages() {
	nodes := f.threader.nodes
	for i := range nodes {
		if nodes[i].uid != 0 {
			f.sorted = append(f.sorted, int32(i))
		}
	}
	slices.SortFunc(f.sorted, func(a, b int32) int { return compareSent(&nodes[a], &nodes[b]) })
	f.rank = make([]int32, len(nodes))
	for rank, i := range f.sorted {
		f.rank[i] = int32(rank)
	}
	f.rankDummies()
}

func (f *forest) rankDummies() {
	nodes := f.threader.nodes
	for i := range nodes {
		if nodes[i].uid == 0 {
			f.rank[i] = noRank
		}
	}
	for _, i := range f.sorted {
		if p := f.parent[i]; p != noNode && f.isDummy(p) {
			f.rank[p] = min(f.rank[p], f.rank[i])
		}
	}
}

func (f *forest) isDummy(i int32) bool { return f.threader.nodes[i].uid == 0 }

// roots are the nodes at the top in order of their ranks.
func (f *forest) roots(rank []int32) []int32 {
	var roots []int32
	for i := range f.parent {
		if f.parent[i] == noNode && !f.gone[i] {
			roots = append(roots, int32(i))
		}
	}
	slices.SortFunc(roots, func(a, b int32) int { return cmp.Compare(rank[a], rank[b]) })
	return roots
}

// mergeSubjects is step 5, on roots that step 4 has sorted.
func (f *forest) mergeSubjects() {
	t := f.threader
	roots := f.roots(f.rank)
	subjects := make([]string, len(roots))
	table := map[string]int32{}
	for i, root := range roots { // 5.B
		subjects[i] = t.subject(f.first(root))
		if subjects[i] == "" {
			continue
		}
		old, known := table[subjects[i]]
		if !known || !f.isDummy(old) && (f.isDummy(root) || t.nodes[old].reply && !t.nodes[root].reply) {
			table[subjects[i]] = root
		}
	}
	into := map[int32]int32{}    // dummies whose children went to another
	for i, root := range roots { // 5.C
		old, known := table[subjects[i]]
		if !known || old == root {
			continue
		}
		switch {
		case f.isDummy(root): // and so is old
			into[root], f.gone[root] = old, true
		case f.isDummy(old), t.nodes[root].reply && !t.nodes[old].reply:
			f.parent[root] = old
		default:
			dummy := f.addDummy()
			f.parent[root], f.parent[old] = dummy, dummy
			table[subjects[i]] = dummy
		}
	}
	for _, i := range f.sorted {
		if target, moved := into[f.parent[i]]; moved {
			f.parent[i] = target
		}
	}
	f.rankDummies()
}

// first is the message that a thread is sorted by, and has its subject from.
func (f *forest) first(root int32) int32 { return f.sorted[f.rank[root]] }

func (f *forest) addDummy() int32 {
	f.parent, f.gone, f.rank = append(f.parent, noNode), append(f.gone, false), append(f.rank, noRank)
	f.threader.nodes = append(f.threader.nodes, threadNode{})
	return int32(len(f.parent) - 1)
}

// newest ranks the nodes at the top by the message in their thread that arrived
// last.
func (f *forest) newest() []int32 {
	nodes := f.threader.nodes
	arrived := slices.Clone(f.sorted)
	slices.SortFunc(arrived, func(a, b int32) int {
		return cmp.Or(cmp.Compare(nodes[a].arrival, nodes[b].arrival), cmp.Compare(nodes[a].uid, nodes[b].uid))
	})
	top := f.tops()
	rank := make([]int32, len(f.parent))
	for i, n := range arrived {
		rank[top[n]] = int32(i)
	}
	return rank
}

// tops finds the node at the top of each node's thread.
func (f *forest) tops() []int32 {
	top := slices.Clone(f.parent)
	var path []int32
	for i := range top {
		at := int32(i)
		for top[at] != noNode && top[at] != at {
			path = append(path, at)
			at = top[at]
		}
		top[at] = at
		for _, n := range path {
			top[n] = at
		}
		path = path[:0]
	}
	return top
}

// members is step 6: siblings by sent date, threads by topRank.
func (f *forest) members(topRank []int32) []imap.ThreadMember {
	children, end := f.children()
	type place struct {
		node  int32
		depth uint32
	}
	var stack []place
	roots := f.roots(topRank)
	for _, root := range slices.Backward(roots) {
		stack = append(stack, place{root, 0})
	}
	out := make([]imap.ThreadMember, 0, len(f.sorted))
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		out = append(out, imap.ThreadMember{UID: f.threader.nodes[p.node].uid, Depth: p.depth})
		begin := int32(0)
		if p.node > 0 {
			begin = end[p.node-1]
		}
		for _, child := range slices.Backward(children[begin:end[p.node]]) {
			stack = append(stack, place{child, p.depth + 1})
		}
	}
	return out
}

// children lists the children of all nodes, each node's by rank, one node's
// behind the other's, and where each node's end.
func (f *forest) children() (children, end []int32) {
	end = make([]int32, len(f.parent))
	for _, i := range f.sorted {
		if p := f.parent[i]; p != noNode {
			end[p]++
		}
	}
	sum := int32(0)
	for i, n := range end {
		end[i] = sum // where they begin, for now
		sum += n
	}
	children = make([]int32, sum)
	for _, i := range f.sorted {
		if p := f.parent[i]; p != noNode {
			children[end[p]] = i
			end[p]++
		}
	}
	return children, end
}
