package message

// linkCut is a forest in which nodes get and lose parents, and which knows the
// root of each node, all in logarithmic time on average, however deep it is:
// the link-cut trees of Sleator and Tarjan. Each path that was walked last is a
// splay tree in order of depth; up leads to the parent in that tree, or from its
// root to the parent of the path's top.
type linkCut struct{ up, left, right []int32 }

const noNode = int32(-1)

// add adds a node without parent.
func (t *linkCut) add() {
	t.up = append(t.up, noNode)
	t.left = append(t.left, noNode)
	t.right = append(t.right, noNode)
}

// link makes parent the parent of child, which has none.
func (t *linkCut) link(parent, child int32) {
	t.access(parent)
	t.access(child)
	t.up[child] = parent
}

// cut takes its parent from child.
func (t *linkCut) cut(child int32) {
	t.access(child)
	if above := t.left[child]; above != noNode {
		t.left[child], t.up[above] = noNode, noNode
	}
}

// root is the root of the tree that n is in.
func (t *linkCut) root(n int32) int32 {
	t.access(n)
	for t.left[n] != noNode {
		n = t.left[n]
	}
	t.splay(n)
	return n
}

// access makes the path from the root to n one splay tree, with n at its top
// and nothing below n in it.
func (t *linkCut) access(n int32) {
	below := noNode
	for at := n; at != noNode; at = t.up[at] {
		t.splay(at)
		t.right[at] = below
		below = at
	}
	t.splay(n)
}

// isTop says whether n is the top of its splay tree.
func (t *linkCut) isTop(n int32) bool {
	p := t.up[n]
	return p == noNode || t.left[p] != n && t.right[p] != n
}

func (t *linkCut) splay(n int32) {
	for !t.isTop(n) {
		p := t.up[n]
		if !t.isTop(p) {
			g := t.up[p]
			if (t.left[g] == p) == (t.left[p] == n) {
				t.rotate(p)
			} else {
				t.rotate(n)
			}
		}
		t.rotate(n)
	}
}

// rotate moves n above its parent in the splay tree.
func (t *linkCut) rotate(n int32) {
	p := t.up[n]
	g, top := t.up[p], t.isTop(p)
	var moved int32
	if t.left[p] == n {
		moved = t.right[n]
		t.left[p], t.right[n] = moved, p
	} else {
		moved = t.left[n]
		t.right[p], t.left[n] = moved, p
	}
	if moved != noNode {
		t.up[moved] = p
	}
	t.up[p], t.up[n] = n, g
	switch {
	case top:
	case t.left[g] == p:
		t.left[g] = n
	default:
		t.right[g] = n
	}
}
