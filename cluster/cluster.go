// Package cluster says which backend serves a user.
//
// It has static placement: the list of backends comes from the configuration,
// and each user belongs to one point of a ring made of the list, exactly as
// Dovecot's director would place the user, so that a director of either kind
// can be exchanged for the other without moving anyone. The answer is a pure
// function of the list and the name; there is no state, and nobody has to
// agree on anything but the configuration. Directors with equal
// configurations give equal answers.
//
// Nothing moves by itself here. A user of a backend that is dead, but not
// marked down by the administrator, is still sent to it: without leases nobody
// can know that it is really gone, and two backends must never open one user.
//
// With a Coordinator, placement works differently. The users of a tag are divided
// into slots, which backends hold by leases. Each node has a View, its copy of the
// Map; Place says who should hold what, of which every node computes the same; Routes
// is a Locator by who does hold it, and waits while a slot or a pinned user changes
// hands. Nothing in it is per user but pins, and no login asks the Coordinator.
package cluster

import (
	"context"
	"net/netip"
)

// Locator tells which backend serves a user.
type Locator interface {
	// Locate returns the backend that q asks for. If none can be named now, the
	// error is an *imap.Error with UNAVAILABLE. Locate may wait, until ctx ends,
	// and may be called by any number of goroutines at once.
	Locate(ctx context.Context, q Query) (Backend, error)
}

// Query asks for a user's backend.
type Query struct {
	User string // whose mail is wanted: of "alice*master" it is alice
	Tag  string // the backend is one of those with this tag; "" is a tag like any other

	// After is what a backend said that does not serve the user: the answer is of
	// that revision or a later one. Refused is that backend's name: it is named
	// again only if it holds the user since then, or after a second.
	After   Revision
	Refused string
}

// Backend is a server that holds mail.
type Backend struct {
	Name string     // as the administrator wrote it, for logs
	Host string     // the host name whose address it is, for TLS; empty if there is none
	IP   netip.Addr // where it is
	Port uint16     // 0 means the usual port of the protocol at hand
	TLS  string     // "", "starttls" or "imaps": what it has registered with

	Foreign bool // no Roost: a session there needs a Pass of the director's Keeper

	// Revision is that of the answer, which the backend is told; 0 without a coordinator.
	Revision Revision
}

// Addr is where to connect to, given the usual port of the protocol.
func (b Backend) Addr(usual uint16) netip.AddrPort {
	if b.Port != 0 {
		usual = b.Port
	}
	return netip.AddrPortFrom(b.IP, usual)
}
