package cluster

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Weights, which Dovecot calls vhosts: the number of points on the ring.
const (
	DefaultWeight = 100
	MaxWeight     = 1000
)

// Member is a backend as the ring sees it.
type Member struct {
	Backend
	Weight int    // 0 to MaxWeight; with 0 it gets no users
	Tag    string // the group of backends it belongs to
	Down   bool   // the administrator wants it to get no users
}

// Ring places hashes on members. It is immutable and takes 16 bytes a point.
type Ring struct {
	members []Member
	points  map[string][]point // by tag; sorted by hash, then address
}

type point struct {
	hash   uint32
	member int // index in members, which are sorted by address
}

// NewRing makes a ring. The order of the members does not matter. Each address,
// with its port if that is given, may be there once.
func NewRing(members []Member) (*Ring, error) {
	r := &Ring{members: slices.Clone(members), points: map[string][]point{}}
	slices.SortFunc(r.members, func(a, b Member) int { return compareAddrs(a.Backend, b.Backend) })
	for i, m := range r.members {
		switch {
		case !m.IP.IsValid() || m.IP.Zone() != "":
			return nil, fmt.Errorf("backend %q has no usable address", m.Name)
		case m.Weight < 0 || m.Weight > MaxWeight:
			return nil, fmt.Errorf("backend %q has weight %d, allowed are 0 to %d", m.Name, m.Weight, MaxWeight)
		case i > 0 && compareAddrs(m.Backend, r.members[i-1].Backend) == 0:
			return nil, fmt.Errorf("backend %s is there twice", pointText(m.Backend))
		}
		r.addPoints(i)
	}
	for _, points := range r.points {
		slices.SortFunc(points, comparePoints)
	}
	return r, nil
}

func (r *Ring) addPoints(member int) {
	m := r.members[member]
	if m.Down {
		return
	}
	for i := range m.Weight {
		p := point{hash32(pointText(m.Backend) + "-" + strconv.Itoa(i)), member}
		r.points[m.Tag] = append(r.points[m.Tag], p)
	}
}

// Locate returns the member for a hash among those with the tag that are up and
// have a weight: the one with the first point at or after the hash, or after
// the last point the first of all. ok is false if there is no such member.
func (r *Ring) Locate(hash uint32, tag string) (m Member, ok bool) {
	points := r.points[tag]
	if len(points) == 0 {
		return Member{}, false
	}
	i, _ := slices.BinarySearchFunc(points, point{hash: hash, member: -1}, comparePoints)
	return r.members[points[i%len(points)].member], true
}

func comparePoints(a, b point) int {
	switch {
	case a.hash < b.hash:
		return -1
	case a.hash > b.hash:
		return 1
	}
	return a.member - b.member
}

func compareAddrs(a, b Backend) int {
	return netip.AddrPortFrom(a.IP, a.Port).Compare(netip.AddrPortFrom(b.IP, b.Port))
}

// pointText is what a member's points are made from. Dovecot knows only the
// address. A port that was written out is part of the text, so that several
// members can share an address.
func pointText(b Backend) string {
	if b.Port == 0 {
		return b.IP.String()
	}
	return netip.AddrPortFrom(b.IP, b.Port).String()
}

// UserHash is the place of a user on the ring, given the expanded template. It
// is never 0.
func UserHash(expanded string) uint32 {
	return max(hash32(expanded), 1)
}

// hash32 is the first four bytes of the MD5 sum, big-endian. It spreads users
// evenly and has to equal Dovecot's; it protects nothing.
func hash32(s string) uint32 {
	sum := md5.Sum([]byte(s))
	return binary.BigEndian.Uint32(sum[:4])
}
