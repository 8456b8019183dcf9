package cluster

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var updateGolden = flag.Bool("update", false, "rewrite testdata/placement.txt")

// node makes a candidate of a word like "b1=50@tag"; without = the weight is
// DefaultWeight.
func node(word string) Node {
	word, tag, _ := strings.Cut(word, "@")
	name, weight, weighted := strings.Cut(word, "=")
	n := Node{Name: name, RegisteredAt: 1, AliveAt: 1, Lease: 1, Wish: defaultWish}
	n.Registration = Registration{Host: name, Port: 143, Tag: tag, Volumes: []string{"v"}}
	n.Alive.Candidate = true
	if weighted {
		if _, err := fmt.Sscan(weight, &n.Wish.Weight); err != nil {
			panic(err)
		}
	}
	return n
}

func nodes(list string) (nodes []Node) {
	for word := range strings.FieldsSeq(list) {
		nodes = append(nodes, node(word))
	}
	return nodes
}

// equalNodes are n candidates of one weight.
func equalNodes(n int) (nodes []Node) {
	for i := range n {
		nodes = append(nodes, node(fmt.Sprintf("b%d", i+1)))
	}
	return nodes
}

// goldenPlacements are the tags and backends of the golden file.
var goldenPlacements = []string{
	"b1 b2",
	"b1 b2 b3",
	"b1@t b2@t",
	"b1=1000 b2=1 b3=50",
	"b1.example.com b2.example.com b3.example.com=200 b4.example.com",
	"a b c d e f g h i j k l m n o p q r s t u v w x y z",
}

// The placement of a list of backends is the same for ever, and on every processor.
func TestPlaceGolden(t *testing.T) {
	const file = "testdata/placement.txt"
	var b strings.Builder
	b.WriteString("# A hash's cost, with 48 bits behind the point.\n")
	for _, h := range []uint64{1, 3, 1 << 32, 0x9e3779b97f4a7c15, math.MaxUint64} {
		fmt.Fprintf(&b, "cost of %016x: %016x\n", h, 64<<48-log2(h))
	}
	for _, list := range goldenPlacements {
		_, tag, _ := strings.Cut(list, "@")
		tag, _, _ = strings.Cut(tag, " ")
		p := Place(tag, nodes(list))
		fmt.Fprintf(&b, "\n# Backends, their slots, candidates for some slots in order, and a sum over who is wanted for each.\nbackends %s\n", list)
		for _, c := range p.Candidates() {
			fmt.Fprintf(&b, "%s: %d slots\n", c.Name, c.Slots)
		}
		for _, s := range []Slot{0, 1, 8191, 16383} {
			fmt.Fprintf(&b, "slot %d: %s\n", s, strings.Join(p.Rank(s), " "))
		}
		all := sha256.New()
		for s := range Slot(Slots) {
			fmt.Fprintf(all, "%d %s\n", s, p.Wanted(s))
		}
		fmt.Fprintf(&b, "all: %x\n", all.Sum(nil))
	}
	if *updateGolden {
		if err := os.WriteFile(file, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("placement is not what it was; users would move:\n%s", b.String())
	}
}

func TestLog2(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64Min(1).Draw(t, "x") >> rapid.IntRange(0, 63).Draw(t, "shift")
		x = max(x, 1)
		got, want := float64(log2(x))/(1<<48), math.Log2(float64(x))
		if got > want+1e-12 || got < want-2e-7 {
			t.Fatalf("log2(%d) = %v, want %v", x, got, want)
		}
	})
	for i := range 64 {
		if got := log2(1 << i); got != uint64(i)<<48 {
			t.Errorf("log2(1<<%d) = %x", i, got)
		}
	}
	most := candidate{weight: MaxWeight}
	if high, _ := bits.Mul64(64<<48, most.weight); high != 0 {
		t.Error("costs and weights multiply beyond 64 bits")
	}
}

// Apart from the balance, placement is rendezvous hashing as the literature has it, in
// floating point.
func TestPlaceIsRendezvous(t *testing.T) {
	p := Place("", nodes("a=100 b=250 c=17 d=1000 e=1 f=100"))
	wrong, moved := 0, 0
	for s := range Slot(Slots) {
		best, most := 0, math.Inf(-1)
		for i, c := range p.candidates {
			u := (float64(c.hash(s)>>11) + 0.5) / (1 << 53)
			if score := -float64(c.weight) / math.Log(u); score > most {
				best, most = i, score
			}
		}
		if p.best(s, func(int) bool { return true }) != best {
			wrong++
		}
		if int(p.wanted[s]) != best {
			moved++
		}
	}
	if wrong > 0 || moved > Slots/100 {
		t.Errorf("%d slots differ, %d were moved for the balance", wrong, moved)
	}
}

// drawNodes draws backends of one tag, of which not all are candidates.
func drawNodes(t *rapid.T, most int) []Node {
	drawn := rapid.Custom(func(t *rapid.T) Node {
		n := node(rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "name"))
		n.Wish.Weight = rapid.OneOf(rapid.Just(DefaultWeight), rapid.IntRange(0, MaxWeight)).Draw(t, "weight")
		n.Wish.State = rapid.SampledFrom([]State{Up, Up, Up, Up, Drain}).Draw(t, "state")
		n.AliveAt = rapid.SampledFrom([]Revision{1, 1, 1, 1, 0}).Draw(t, "alive")
		return n
	})
	return rapid.SliceOfNDistinct(drawn, 1, most, func(n Node) string { return n.Name }).Draw(t, "nodes")
}

// Whatever the backends: everybody has the share of the weight, within Balance or the
// one slot that a fraction needs; candidates hold all, others nothing; Rank begins
// with the wanted one and has every candidate once; and order does not matter.
func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawNodes(t, 40)
		p := Place("", list)
		q := Place("", rapid.Permutation(list).Draw(t, "order"))
		counts := map[string]int{}
		for s := range Slot(Slots) {
			if p.Wanted(s) != q.Wanted(s) {
				t.Fatalf("slot %d: %s, in another order %s", s, p.Wanted(s), q.Wanted(s))
			}
			counts[p.Wanted(s)]++
		}
		total, candidates := 0, 0
		for _, c := range p.Candidates() {
			if len(c.Not) == 0 {
				total += c.Weight
				candidates++
			}
		}
		if candidates == 0 {
			if p.Rank(0) != nil || counts[""] != Slots {
				t.Fatalf("without candidates: %v, %v", p.Rank(0), counts)
			}
			return
		}
		for _, c := range p.Candidates() {
			share := float64(Slots*c.Weight) / float64(total)
			if len(c.Not) > 0 {
				share = 0
			}
			n := float64(counts[c.Name])
			if n != float64(c.Slots) || n > math.Max(share*1.05, math.Ceil(share)) || n < math.Min(share*0.95, math.Floor(share)) {
				t.Fatalf("%+v has %v slots, its share is %v", c, n, share)
			}
		}
		s := Slot(rapid.IntRange(0, Slots-1).Draw(t, "slot"))
		rank := p.Rank(s)
		once := map[string]bool{}
		for _, name := range rank {
			once[name] = true
		}
		if rank[0] != p.Wanted(s) || len(rank) != candidates || len(once) != candidates {
			t.Fatalf("rank of %d: %v, wanted %s of %d", s, rank, p.Wanted(s), candidates)
		}
	})
}

// When a backend comes, goes or changes its weight, slots go to it or come from it. The
// others are those which are moved for the balance before or after.
func TestPlaceMovesLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawNodes(t, 20)
		changed := list[0].Name
		before := Place("", list)
		if rapid.Bool().Draw(t, "goes") {
			list = list[1:]
		} else {
			list[0].Wish.Weight = rapid.IntRange(0, MaxWeight).Draw(t, "new weight")
		}
		after := Place("", list)
		balanced := func(p *Placement, s Slot) bool {
			return p.wanted != nil && int(p.wanted[s]) != p.best(s, func(int) bool { return true })
		}
		for s := range Slot(Slots) {
			from, to := before.Wanted(s), after.Wanted(s)
			if from != to && from != "" && to != "" && from != changed && to != changed && !balanced(before, s) && !balanced(after, s) {
				t.Fatalf("slot %d went from %s to %s when %s changed", s, from, to, changed)
			}
		}
	})
}

// How many slots move besides, at most, when one more equal backend comes, of 16384.
func TestPlaceMovesBesides(t *testing.T) {
	for _, row := range []struct{ backends, besides int }{{2, 0}, {3, 0}, {4, 0}, {5, 0}, {8, 0}, {16, 10}, {32, 30}, {64, 60}} {
		list := equalNodes(row.backends + 1)
		before, after := Place("", list[1:]), Place("", list)
		moved, besides := 0, 0
		for s := range Slot(Slots) {
			switch from, to := before.Wanted(s), after.Wanted(s); {
			case to == list[0].Name:
				moved++
			case from != to:
				besides++
			}
		}
		t.Logf("%d to %d backends: %d slots move, and %d besides", row.backends, row.backends+1, moved, besides)
		if besides > row.besides || moved > Slots*106/100/(row.backends+1) {
			t.Errorf("%d backends: %d and %d", row.backends, moved, besides)
		}
	}
}

// Backends of other tags change nothing, and tags differ in what goes where.
func TestPlaceTagsAreSeparate(t *testing.T) {
	one := Place("a", nodes("b1@a b2@a"))
	both := Place("a", nodes("b1@a b2@a b3 b4@b b1@b"))
	other := Place("b", nodes("b1@b b2@b"))
	same := 0
	for s := range Slot(Slots) {
		if one.Wanted(s) != both.Wanted(s) {
			t.Fatalf("slot %d: %s, %s", s, one.Wanted(s), both.Wanted(s))
		}
		if one.Wanted(s) == other.Wanted(s) {
			same++
		}
	}
	if same > Slots*6/10 {
		t.Errorf("%d slots of two tags are at the same backend", same)
	}
}

// Who is a candidate, and what an administrator reads about who is none.
func TestPlaceCandidates(t *testing.T) {
	with := func(n Node, change func(*Node)) Node { change(&n); return n }
	volumes := func(words string) func(*Node) {
		return func(n *Node) { n.Registration.Volumes = strings.Fields(words) }
	}
	local := func(n *Node) { n.Registration.Local = true; n.Registration.Volumes = []string{"of " + n.Name} }
	for _, row := range []struct {
		name  string
		nodes []Node
		want  string
	}{
		{"all well", nodes("a b=0"), "a: ; b: its weight is 0"},
		{"wishes", []Node{
			with(node("a"), func(n *Node) { n.Wish.State = Drain }),
			with(node("b"), func(n *Node) { n.Wish.State = Down }),
			with(node("c"), func(n *Node) { n.Wish.State = "" }),
		}, `a: the administrator wants it drained; b: the administrator wants it down; c: the administrator wants something unknown of it: ""`},
		{"health", []Node{
			with(node("a"), func(n *Node) { n.AliveAt = 0; n.Alive = Alive{} }),
			with(node("b"), func(n *Node) { n.Alive.Candidate = false }),
			with(node("c"), func(n *Node) { n.Alive = Alive{Trouble: "disk"} }),
			with(node("d"), func(n *Node) { n.RegisteredAt = 0 }), node("e"),
		}, "a: it is not alive: it has no lease; b: it has not been stable for long enough; c: it has trouble: disk; e: "},
		{"none stable", []Node{
			with(node("a"), func(n *Node) { n.AliveAt = 0; n.Alive = Alive{} }),
			with(node("b"), func(n *Node) { n.Alive.Candidate = false }),
			with(node("c"), func(n *Node) { n.Alive.Candidate = false; n.Wish.State = Down }),
		}, "a: it is not alive: it has no lease; b: ; c: the administrator wants it down, it has not been stable for long enough"},
		{"volume of most", []Node{
			with(node("a"), volumes("v w")), with(node("b"), volumes("w v x")), with(node("c"), volumes("v")),
		}, "a: ; b: ; c: it lacks volume w, which others of its tag have"},
		{"halves", []Node{with(node("a"), volumes("v")), with(node("b"), volumes("w"))}, "a: it lacks volume w, which others of its tag have; b: it lacks volume v, which others of its tag have"},
		{"no volumes", []Node{with(node("a"), volumes("")), with(node("b"), volumes(""))}, "a: ; b: "},
		{"dead ones count", []Node{
			with(node("a"), volumes("v")), with(node("b"), volumes("v")), with(node("c"), volumes("w")),
			with(node("b"), func(n *Node) { n.Name, n.AliveAt = "d", 0 }),
		}, "a: ; b: ; c: it lacks volume v, which others of its tag have; d: it is not alive: it has no lease"},
		{"local ones", []Node{with(node("a"), local), with(node("b"), local)}, "a: ; b: "},
		{"local among shared", []Node{with(node("a"), local), node("b")}, "a: its volumes are its own, those of others are shared; b: "},
	} {
		var got []string
		for _, c := range Place("", row.nodes).Candidates() {
			got = append(got, c.Name+": "+strings.Join(c.Not, ", "))
		}
		if text := strings.Join(got, "; "); text != row.want {
			t.Errorf("%s:\n%s\nwant\n%s", row.name, text, row.want)
		}
	}
}

// Pins come first, and what is on volumes of its own stays there.
func TestMapRank(t *testing.T) {
	m := newMap(bubbleClock{})
	apply := func(events ...Event) {
		t.Helper()
		for _, e := range events {
			if err := m.apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		apply(put("backends/"+name, `{"host":"h","volumes":["v"]}`, 1), put("alive/"+name, `{"candidate":true}`, 1))
	}
	for _, name := range []string{"l1", "l2"} {
		apply(put("backends/"+name, `{"host":"h","tag":"l","local":true,"volumes":["`+name+`"]}`, 1), put("alive/"+name, `{"candidate":true}`, 1))
	}
	free := Unit{Tag: "l"}
	for m.Wanted(free) != "l2" {
		free.Slot++
	}
	apply(put(free.key(), `{"backend":"l1"}`, 2), put("pins/ann", `{"backend":"b"}`, 2), put("pins/lea", `{"backend":"l2"}`, 2),
		put("pins/no", `{"backend":"none"}`, 2), put("heldu/was", `{"backend":"b"}`, 2))
	check := func(u Unit, want string) {
		t.Helper()
		rank := strings.Join(m.Rank(u), " ")
		first, _, _ := strings.Cut(rank, " ")
		if rank != want || m.Wanted(u) != first {
			t.Errorf("%s: %s, wanted %s; want %s", u, rank, m.Wanted(u), want)
		}
	}
	check(free, "l1")
	check(Unit{User: "ann"}, "b c a")
	check(Unit{User: "lea"}, "l2")
	check(Unit{User: "no"}, "")
	check(Unit{User: "was"}, "")
	apply(del("alive/b", 3), put("wishes/l1", `{"state":"down"}`, 3))
	check(free, "l1")
	check(Unit{User: "ann"}, "c a")
	apply(del("backends/l1", 4))
	check(free, "l2")
	apply(del("alive/l2", 5))
	check(free, "")
	check(Unit{User: "lea"}, "l2")
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{4, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := equalNodes(n)
			b.ReportAllocs()
			for b.Loop() {
				Place("", list)
			}
		})
	}
}
