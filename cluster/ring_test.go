package cluster

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// members makes members of addresses with weight and tag: "10.0.0.2=50@tag".
func members(t testing.TB, list string) []Member {
	t.Helper()
	var members []Member
	for _, word := range strings.Fields(list) {
		word, tag, _ := strings.Cut(word, "@")
		address, weight, ok := strings.Cut(word, "=")
		m := Member{Weight: DefaultWeight, Tag: tag}
		m.Name = address
		if ok {
			if _, err := fmt.Sscan(weight, &m.Weight); err != nil {
				t.Fatal(err)
			}
		}
		if ap, err := netip.ParseAddrPort(address); err == nil {
			m.IP, m.Port = ap.Addr(), ap.Port()
		} else {
			m.IP = netip.MustParseAddr(address)
		}
		members = append(members, m)
	}
	return members
}

func ring(t testing.TB, list string) *Ring {
	t.Helper()
	r, err := NewRing(members(t, list))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPoints(t *testing.T) {
	for text, want := range map[string]uint32{
		"127.0.3.11-0":  3531685843,
		"127.0.3.11-1":  2982006955,
		"127.0.3.11-99": 3593776177,
		"10.0.0.1-0":    1014535201,
		"2001:db8::1-0": 718735967,
	} {
		if got := hash32(text); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	for text, backend := range map[string]Backend{
		"10.0.0.1":          {Name: "a", IP: netip.MustParseAddr("10.0.0.1")},
		"2001:db8::1":       {IP: netip.MustParseAddr("2001:0DB8:0::1")},
		"127.0.0.1:10143":   {IP: netip.MustParseAddr("127.0.0.1"), Port: 10143},
		"[2001:db8::1]:143": {IP: netip.MustParseAddr("2001:db8::1"), Port: 143},
	} {
		if got := pointText(backend); got != text {
			t.Errorf("%+v: %q, want %q", backend, got, text)
		}
	}
}

// Where Dovecot's director places these users. The first row was observed on a
// live one.
func TestPlacement(t *testing.T) {
	users := strings.Fields("alice bob carol dave eve frank user@example.com")
	for _, row := range []struct{ list, want string }{
		{"127.0.3.11 127.0.3.12", ".12 .11 .11 .11 .12 .12 .11"},
		{"10.0.0.1 10.0.0.2 10.0.0.3", ".2 .2 .2 .2 .1 .2 .1"},
		{"10.0.0.1 10.0.0.2=50 10.0.0.3", ".3 .2 .2 .2 .1 .3 .1"},
		{"10.0.0.9", ".9 .9 .9 .9 .9 .9 .9"},
	} {
		r := ring(t, row.list)
		for i, want := range strings.Fields(row.want) {
			m, ok := r.Locate(UserHash(users[i]), "")
			if !ok || !strings.HasSuffix(m.IP.String(), want) {
				t.Errorf("%s: %s is on %v, %v; want %s", row.list, users[i], m.IP, ok, want)
			}
		}
	}
}

// The removal of one of three hosts moves its 3278 users of 10000, and no other.
func TestRemovalMovesOnlyItsUsers(t *testing.T) {
	all := ring(t, "10.0.0.1 10.0.0.2 10.0.0.3")
	removed := netip.MustParseAddr("10.0.0.2")
	for name, rest := range map[string]*Ring{
		"removed":  ring(t, "10.0.0.1 10.0.0.3"),
		"weight 0": ring(t, "10.0.0.1 10.0.0.2=0 10.0.0.3"),
		"down":     downRing(t, "10.0.0.1 10.0.0.2 10.0.0.3", removed),
	} {
		moved := 0
		for i := range 10000 {
			hash := UserHash(fmt.Sprintf("u%d", i))
			before, _ := all.Locate(hash, "")
			after, ok := rest.Locate(hash, "")
			if !ok || after.IP == removed || before.IP != removed && before.IP != after.IP {
				t.Fatalf("%s: u%d went from %v to %v, %v", name, i, before.IP, after.IP, ok)
			}
			if before.IP != after.IP {
				moved++
			}
		}
		if moved != 3278 {
			t.Errorf("%s: %d users moved", name, moved)
		}
	}
}

func downRing(t *testing.T, list string, down netip.Addr) *Ring {
	t.Helper()
	all := members(t, list)
	for i := range all {
		all[i].Down = all[i].IP == down
	}
	r, err := NewRing(all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNoMember(t *testing.T) {
	for _, r := range []*Ring{ring(t, ""), ring(t, "10.0.0.1=0"), ring(t, "10.0.0.1@a"), downRing(t, "10.0.0.1", netip.MustParseAddr("10.0.0.1"))} {
		if m, ok := r.Locate(1, ""); ok {
			t.Errorf("found %v", m)
		}
	}
}

func TestTagsAreRingsOfTheirOwn(t *testing.T) {
	r := ring(t, "10.0.0.1@a 10.0.0.2@b 10.0.0.3")
	for tag, want := range map[string]string{"a": "10.0.0.1", "b": "10.0.0.2", "": "10.0.0.3"} {
		for i := range 50 {
			if m, ok := r.Locate(UserHash(fmt.Sprint(i)), tag); !ok || m.IP.String() != want {
				t.Fatalf("tag %q: %v, %v", tag, m.IP, ok)
			}
		}
	}
}

// A hash beyond the last point belongs to the first, and a point belongs to
// its own member.
func TestEdgesOfTheRing(t *testing.T) {
	r := ring(t, "10.0.0.1 10.0.0.2")
	points := r.points[""]
	for i, p := range points {
		if i > 0 && comparePoints(points[i-1], p) >= 0 {
			t.Fatalf("points %d and %d are out of order", i-1, i)
		}
		if m, _ := r.Locate(p.hash, ""); m.IP != r.members[p.member].IP {
			t.Errorf("point %d: %v", i, m.IP)
		}
	}
	first := r.members[points[0].member].IP
	for _, hash := range []uint32{0, points[0].hash, points[len(points)-1].hash + 1, math.MaxUint32} {
		if m, _ := r.Locate(hash, ""); m.IP != first {
			t.Errorf("%d: %v, want %v", hash, m.IP, first)
		}
	}
}

func TestRefusedMembers(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	for name, list := range map[string][]Member{
		"no address":    {{Weight: 1}},
		"zone":          {{Backend: Backend{IP: netip.MustParseAddr("fe80::1%eth0")}}},
		"weight":        {{Backend: Backend{IP: local}, Weight: MaxWeight + 1}},
		"negative":      {{Backend: Backend{IP: local}, Weight: -1}},
		"twice":         {{Backend: Backend{IP: local}}, {Backend: Backend{IP: local}, Tag: "a"}},
		"twice by port": {{Backend: Backend{IP: local, Port: 1}}, {Backend: Backend{IP: local, Port: 1}}},
	} {
		if _, err := NewRing(list); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewRing(members(t, "127.0.0.1 127.0.0.1:143 127.0.0.1:144")); err != nil {
		t.Errorf("one address with several ports: %v", err)
	}
}

// Whatever the members, their order does not matter, and adding one moves users
// to it only; removal is the same seen from behind.
func TestMinimalMovement(t *testing.T) {
	member := rapid.Custom(func(t *rapid.T) Member {
		m := Member{Weight: rapid.IntRange(0, 30).Draw(t, "weight"), Tag: rapid.SampledFrom([]string{"", "a"}).Draw(t, "tag")}
		m.IP = netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "ip")})
		m.Port = rapid.SampledFrom([]uint16{0, 143}).Draw(t, "port")
		m.Down = rapid.IntRange(0, 5).Draw(t, "down") == 0
		return m
	})
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(member, 1, 8, func(m Member) string { return pointText(m.Backend) }).Draw(t, "members")
		added := list[0]
		with, err := NewRing(rapid.Permutation(list).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		without, err := NewRing(list[1:])
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range rapid.SliceOfN(rapid.Uint32(), 50, 50).Draw(t, "hashes") {
			for _, tag := range []string{"", "a"} {
				before, ok := without.Locate(hash, tag)
				after, ok2 := with.Locate(hash, tag)
				switch {
				case ok2 && (after.Down || after.Weight == 0 || after.Tag != tag):
					t.Fatalf("%d is on %+v, tag %q", hash, after, tag)
				case before == after && ok == ok2:
				case after != added:
					t.Fatalf("%d went from %+v to %+v when %+v came", hash, before, after, added)
				}
			}
		}
	})
}

func BenchmarkLocate(b *testing.B) {
	r := ring(b, "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8")
	b.ReportAllocs()
	for b.Loop() {
		r.Locate(UserHash("user@example.com"), "")
	}
}
