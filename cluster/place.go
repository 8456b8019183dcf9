package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Balance is by how many percent of its share a backend may have more or fewer slots.
const Balance = 5

// Placement says which backend should hold each slot of a tag. It is a function of
// the backends alone, whatever their order, and the same on every processor: all
// of it is computed in integers. It is immutable.
//
// A slot goes to the candidate with the best score, which is weighted rendezvous
// hashing: with -log2 of a hash of candidate and slot, divided by the weight, the
// smallest wins. So when a candidate comes, goes or changes its weight, slots move
// only to it or from it. That leaves shares to chance: with 16 equal candidates
// one of them is usually 6 % off. So candidates that are more than Balance off give
// up the slots for which they score worst, or get those for which they score best,
// as many as it takes and no more. Of up to 6 equal candidates' slots that are hardly
// any, of 16 candidates' one in 1400, of 64 candidates' one in 80; only these can move
// besides when something changes.
type Placement struct {
	tag        string
	judged     []Candidate // ordered by name
	candidates []candidate // those of judged that are, in the same order
	total      uint64      // of their weights
	wanted     []uint16    // by slot: index in candidates; nil without any
}

// Candidate is a backend of a tag, as Place judged it.
type Candidate struct {
	Name   string   `json:"name"`
	Weight int      `json:"weight"`        // that is wished
	Slots  int      `json:"slots"`         // that it should hold
	Not    []string `json:"not,omitempty"` // why it can't hold any of them; empty: it can
}

type candidate struct {
	name   string
	weight uint64
	seed   uint64
	slots  int
}

// Place computes who should hold the slots of a tag. nodes may be of other tags too.
//
// Candidates are the backends that live, say that they are stable, are wished up with
// a weight above 0, and have the tag's volumes: every one that half of the tag's
// backends or more have, alive or not. (The mail of a slot's users can be on any of
// them. If two halves have different volumes, nobody can know which is right, and
// there is no candidate.) A backend whose volumes nobody else sees is a
// candidate if all of the tag's backends are like that; what it holds
// it keeps, see Map.Rank. Where there is no candidate, those are that only have
// not been stable for long enough: better they than nobody.
func Place(tag string, nodes []Node) *Placement {
	p := &Placement{tag: tag}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.RegisteredAt == 0 || n.Registration.Tag != tag })
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	volumes, allLocal := commonVolumes(nodes)
	for _, n := range nodes {
		p.judged = append(p.judged, Candidate{Name: n.Name, Weight: n.Wish.Weight, Not: refusals(n, volumes, allLocal)})
	}
	p.choose()
	if len(p.candidates) > 0 {
		p.place()
		p.balance()
	}
	p.count()
	return p
}

// choose takes the candidates from those that were judged.
func (p *Placement) choose() {
	stable := slices.ContainsFunc(p.judged, func(c Candidate) bool { return len(c.Not) == 0 })
	for i := range p.judged {
		c := &p.judged[i]
		if !stable && slices.Equal(c.Not, []string{notStable}) {
			c.Not = nil
		}
		if len(c.Not) == 0 {
			p.candidates = append(p.candidates, candidate{name: c.Name, weight: uint64(c.Weight), seed: seedOf(p.tag, c.Name)})
			p.total += uint64(c.Weight)
		}
	}
}

const notStable = "it has not been stable for long enough"

// commonVolumes are those that at least half of the backends with shared volumes
// have, in order.
func commonVolumes(nodes []Node) (volumes []string, allLocal bool) {
	backends := 0
	have := map[string]int{}
	allLocal = true
	for _, n := range nodes {
		if n.Registration.Local {
			continue
		}
		allLocal = false
		if n.Registration.Foreign {
			continue
		}
		backends++
		for _, v := range slices.Compact(slices.Sorted(slices.Values(n.Registration.Volumes))) {
			have[v]++
		}
	}
	for v, n := range have {
		if 2*n >= backends {
			volumes = append(volumes, v)
		}
	}
	slices.Sort(volumes)
	return volumes, allLocal
}

// refusals are the reasons why a backend is no candidate.
func refusals(n Node, volumes []string, allLocal bool) (not []string) {
	switch {
	case n.Wish.State == Drain:
		not = append(not, "the administrator wants it drained")
	case n.Wish.State == Down:
		not = append(not, "the administrator wants it down")
	case n.Wish.State != Up:
		not = append(not, fmt.Sprintf("the administrator wants something unknown of it: %q", n.Wish.State))
	case n.Wish.Weight <= 0:
		not = append(not, "its weight is 0")
	}
	switch {
	case n.AliveAt == 0:
		not = append(not, "it is not alive: it has no lease")
	case !n.Alive.Candidate && n.Alive.Trouble != "":
		not = append(not, "it has trouble: "+n.Alive.Trouble)
	case !n.Alive.Candidate:
		not = append(not, notStable)
	}
	if n.Registration.Local && !allLocal {
		not = append(not, "its volumes are its own, those of others are shared")
	}
	for _, v := range volumes {
		if !n.Registration.Local && !slices.Contains(n.Registration.Volumes, v) {
			not = append(not, fmt.Sprintf("it lacks volume %s, which others of its tag have", v))
		}
	}
	return not
}

// Tag is whose slots these are.
func (p *Placement) Tag() string { return p.tag }

// Wanted is the backend that should hold a slot; "" if no backend can, and then
// whoever holds it keeps it.
func (p *Placement) Wanted(s Slot) string {
	if p.wanted == nil {
		return ""
	}
	return p.candidates[p.wanted[s]].name
}

// Rank are all candidates for a slot: the wanted one, then those that may take it
// if it stays free, in order.
func (p *Placement) Rank(s Slot) []string {
	if p.wanted == nil {
		return nil
	}
	order := make([]int, len(p.candidates))
	costs := make([]uint64, len(p.candidates))
	for i := range order {
		order[i], costs[i] = i, p.candidates[i].cost(s)
	}
	slices.SortFunc(order, func(i, j int) int {
		if i == j {
			return 0
		}
		if p.before(i, costs[i], j, costs[j]) {
			return -1
		}
		return 1
	})
	names := []string{p.Wanted(s)}
	for _, i := range order {
		if name := p.candidates[i].name; name != names[0] {
			names = append(names, name)
		}
	}
	return names
}

// Candidates are the backends of the tag, ordered by name, with those that are none.
func (p *Placement) Candidates() []Candidate { return append([]Candidate{}, p.judged...) }

// count fills in the slots of each Candidate.
func (p *Placement) count() {
	i := 0
	for j := range p.judged {
		if i < len(p.candidates) && p.judged[j].Name == p.candidates[i].name {
			p.judged[j].Slots = p.candidates[i].slots
			i++
		}
	}
}

// place gives each slot to the candidate that scores best.
func (p *Placement) place() {
	p.wanted = make([]uint16, Slots)
	for s := range p.wanted {
		p.wanted[s] = uint16(p.best(Slot(s), func(int) bool { return true }))
		p.candidates[p.wanted[s]].slots++
	}
}

// best is the candidate that scores best for a slot among those that may have it,
// -1 if there is none.
func (p *Placement) best(s Slot, may func(int) bool) int {
	best, least := -1, uint64(0)
	for i := range p.candidates {
		if !may(i) {
			continue
		}
		if cost := p.candidates[i].cost(s); best < 0 || !p.before(best, least, i, cost) {
			best, least = i, cost
		}
	}
	return best
}

// before says whether candidate i, with its cost for some slot, goes before j. The
// products are less than 64<<48 * MaxWeight, which is less than 1<<64.
func (p *Placement) before(i int, costI uint64, j int, costJ uint64) bool {
	a, b := costI*p.candidates[j].weight, costJ*p.candidates[i].weight
	return a < b || a == b && i < j
}

// balance moves slots until no candidate is more than Balance off its share, or
// more than the one slot that a share with a fraction needs.
//
// First those with too many give away their worst slots, to the best candidates
// that are below their share; nobody gets too many by that. Then those with too few
// take their best from candidates that are above their share; nobody has too few
// after that. There always is one below while another is above, and so it ends.
func (p *Placement) balance() {
	for i := range p.candidates {
		_, most := p.bounds(i)
		if excess := p.candidates[i].slots - most; excess > 0 {
			mine := p.byCost(i, func(s Slot) bool { return int(p.wanted[s]) == i })
			for _, s := range mine[len(mine)-excess:] {
				p.give(s, p.best(s, p.below))
			}
		}
	}
	for i := range p.candidates {
		least, _ := p.bounds(i)
		if p.candidates[i].slots >= least {
			continue
		}
		for _, s := range p.byCost(i, func(s Slot) bool { return int(p.wanted[s]) != i }) {
			if p.above(int(p.wanted[s])) {
				p.give(s, i)
			}
			if p.candidates[i].slots == least {
				break
			}
		}
	}
}

// bounds are how many slots a candidate may have: its share, rounded either way,
// and Balance percent fewer or more.
func (p *Placement) bounds(i int) (least, most int) {
	share := Slots * p.candidates[i].weight // times p.total
	down, up := share/p.total, (share+p.total-1)/p.total
	fewer := (share*(100-Balance) + 100*p.total - 1) / (100 * p.total)
	more := share * (100 + Balance) / (100 * p.total)
	return int(min(down, fewer)), int(max(up, more))
}

// below and above say whether a candidate has fewer slots than its share, or more.
func (p *Placement) below(i int) bool {
	return uint64(p.candidates[i].slots)*p.total < Slots*p.candidates[i].weight
}

func (p *Placement) above(i int) bool {
	return uint64(p.candidates[i].slots)*p.total > Slots*p.candidates[i].weight
}

func (p *Placement) give(s Slot, to int) {
	p.candidates[p.wanted[s]].slots--
	p.candidates[to].slots++
	p.wanted[s] = uint16(to)
}

// byCost are the slots that may be had, those first for which a candidate scores best.
func (p *Placement) byCost(i int, may func(Slot) bool) []Slot {
	var keys []uint64 // the hash's upper bits, inverted, and the slot
	for s := range Slot(Slots) {
		if may(s) {
			keys = append(keys, ^p.candidates[i].hash(s)&^(Slots-1)|uint64(s))
		}
	}
	slices.Sort(keys)
	slots := make([]Slot, len(keys))
	for i, k := range keys {
		slots[i] = Slot(k % Slots)
	}
	return slots
}

// seedOf begins the hashes of a backend.
func seedOf(tag, name string) uint64 {
	sum := sha256.Sum256([]byte("roost placement\x00" + tag + "\x00" + name))
	return binary.BigEndian.Uint64(sum[:])
}

// hash is a number of its own for each slot: what SplitMix64 yields from the seed.
func (c *candidate) hash(s Slot) uint64 {
	z := c.seed + (uint64(s)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// cost is -log2 of hash / 2^64, as log2 gives it.
func (c *candidate) cost(s Slot) uint64 { return 64<<48 - log2(c.hash(s)|1) }

// log2 is the logarithm of x with 48 bits behind the point, at most 2e-7 too
// small. x is not 0.
func log2(x uint64) uint64 {
	whole := uint64(bits.Len64(x) - 1)
	x <<= 63 - whole // now 1.f with 63 bits behind the point
	i, rest := x>>53&1023, x&(1<<53-1)
	high, low := bits.Mul64(logs[i+1]-logs[i], rest)
	return whole<<48 + logs[i] + (high<<11 | low>>53)
}

// logs are the logarithms of 1 to 2 in steps of 1/1024; between them log2 draws lines.
var logs = makeLogs()

// makeLogs finds each bit of a logarithm by squaring.
func makeLogs() (logs [1025]uint64) {
	for i := range 1024 {
		y := 1<<63 | uint64(i)<<53
		for range 48 {
			high, low := bits.Mul64(y, y) // 62 bits behind the point
			logs[i] <<= 1
			if high>>63 == 1 {
				logs[i]++
				y = high
			} else {
				y = high<<1 | low>>63
			}
		}
	}
	logs[1024] = 1 << 48
	return logs
}
