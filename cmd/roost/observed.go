package main

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/member"
	"github.com/roost-mail/roost/health"
	"github.com/roost-mail/roost/imapclient"
)

// observed are the parts of a node with a coordinator that metrics, readiness and
// health checks look at. What is nil this node does not have. It is set before the
// node starts.
type observed struct {
	coordinator *cluster.Measured
	view        *cluster.View
	name        string       // of this node in the cluster
	lease       func() lease // of a backend; it waits for nothing
	member      func() (member.Health, member.Syncs)
}

// lease is how a backend stands that holds users by a lease.
type lease struct {
	left                     time.Duration // until its deadline; negative: it is lost
	trouble                  string        // why the backend takes nothing
	held, wanted, leaving    int           // units
	taken, released, dropped uint64        // units, so far
}

// observe has what there is of these parts looked at. name is that of the node.
func (p *parts) observe(name string) {
	if p.clustered != nil {
		p.observed = observed{coordinator: p.clustered.measured, view: p.clustered.view, name: name}
	}
	if p.clustered != nil && p.clustered.member != nil {
		m := p.clustered.member
		p.observed.member = func() (member.Health, member.Syncs) { return m.Health(), m.Syncs() }
	}
	if p.holder != nil {
		p.observed.lease = func() lease { return leaseOf(p.holder.Status()) }
	}
}

func leaseOf(s cluster.HolderStatus) lease {
	return lease{
		left: s.Left, trouble: s.Trouble, held: s.Held, wanted: s.Wanted, leaving: s.Leaving,
		taken: s.Taken, released: s.Released, dropped: s.Dropped,
	}
}

// conditions: the map of the cluster is known, and a backend has its lease and is not
// to give its users up. That the coordinator is away now is no reason not to serve.
func (o *observed) conditions() []condition {
	var all []condition
	if o.view != nil {
		all = append(all, fulfilled("map of the cluster", o.mapReason()))
	}
	if o.lease != nil {
		all = append(all, fulfilled("lease", o.lease().reason()), fulfilled("administrator", o.wishReason()))
	}
	return all
}

func (o *observed) mapReason() string {
	switch c := o.view.Contact(); {
	case c.Revision == 0 && c.Away != nil:
		return fmt.Sprintf("it is not known yet: %v", c.Away)
	case c.Revision == 0:
		return "it is not known yet"
	}
	return ""
}

func (l lease) reason() string {
	switch {
	case l.left == 0:
		return "there is none yet"
	case l.left < 0:
		return fmt.Sprintf("it was lost %v ago", (-l.left).Round(time.Millisecond))
	case l.trouble != "":
		return l.trouble
	}
	return ""
}

// wishReason is that the administrator wants no users here.
func (o *observed) wishReason() (reason string) {
	if o.view == nil {
		return ""
	}
	o.view.Read(func(m *cluster.Map) {
		n, _ := m.Node(o.name)
		if w := n.Wish; w.State != cluster.Up {
			reason = fmt.Sprintf("wants %s: %s", w.State, w.Why)
		}
	})
	return reason
}

// registeredTargets are the backends that have registered, but for this node itself.
func registeredTargets(v *cluster.View, self string, anyCert bool) []health.Target {
	var all []health.Target
	v.Read(func(m *cluster.Map) {
		for _, n := range m.Nodes() {
			if n.Name == self {
				continue
			}
			r := n.Registration
			all = append(all, health.Target{
				Name: n.Name, Host: r.Host, Addr: net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))), Security: imapclient.SecurityOf(r.TLS), AnyCert: anyCert,
			})
		}
	})
	return all
}

func clusterMetrics() []metricRow {
	return slices.Concat(leaseMetrics(), mapMetrics(), memberMetrics())
}

// memberMetrics are those of a member of the coordinator that runs in this process.
func memberMetrics() []metricRow {
	return []metricRow{
		{"roost_member_led", gauge, "1 while this member of the coordinator hears of a leader, else 0: without one nothing changes hands, and leases end.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(truth(h.Led))
		}), nil},
		{"roost_member_leads", gauge, "1 while it is the leader.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(truth(h.Leads))
		}), nil},
		{"roost_member_votes", gauge, "1 when it votes; a new member has to know what the others do first.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(truth(h.Votes))
		}), nil},
		{"roost_member_behind", gauge, "How many changes the members have agreed on that it has not made yet.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(float64(h.Behind))
		}), nil},
		{"roost_member_data_bytes", gauge, "Size of its data.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(float64(h.Bytes))
		}), nil},
		{"roost_member_data_limit_bytes", gauge, "At which size nothing can be written any more.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(float64(h.Limit))
		}), nil},
		{"roost_member_alarmed", gauge, "1 when a member has come to that size, or found its data damaged.", nil, ofMember(func(h member.Health, _ member.Syncs, give giveValue) {
			give(truth(h.Alarmed))
		}), nil},
		{"roost_member_syncs", gauge, "How often the members of this process brought their log onto the disk, in the last half minute that is over.", nil, ofMember(func(_ member.Health, s member.Syncs, give giveValue) {
			give(float64(s.Count))
		}), nil},
		{"roost_member_sync_p99_seconds", gauge, "99 % of these took no longer; a power of two, or infinite. Above 0.064 everybody waits for this disk.", nil, ofMember(func(_ member.Health, s member.Syncs, give giveValue) {
			if s.P99 == math.MaxInt64 {
				give(math.Inf(1))
				return
			}
			give(s.P99.Seconds())
		}), nil},
	}
}

// ofMember reads only where there is a member.
func ofMember(read func(member.Health, member.Syncs, giveValue)) func(*scrape, giveValue) {
	return func(n *scrape, give giveValue) {
		if n.observed.member != nil {
			h, s := n.observed.member()
			read(h, s, give)
		}
	}
}

// leaseMetrics are those of a backend that holds users by a lease.
func leaseMetrics() []metricRow {
	return []metricRow{
		{"roost_lease_left_seconds", gauge, "Until the deadline of this backend's lease; negative since it was lost. It goes up with each keepalive.", nil, ofLease(func(l lease, give giveValue) {
			give(l.left.Seconds())
		}), nil},
		{"roost_lease_age_seconds", gauge, "For how long this backend has had its lease, or none.", nil, ofStatus(func(n *scrape, s *cluster.Status, give giveValue) {
			for _, b := range s.Backends {
				if b.Name == n.observed.name {
					give(b.For)
				}
			}
		}), nil},
		{"roost_units", gauge, "Slots and pinned users of this backend: held, wanted (slots that it should hold), leaving.", []string{"state"}, ofLease(func(l lease, give giveValue) {
			give(float64(l.held), "held")
			give(float64(l.wanted), "wanted")
			give(float64(l.leaving), "leaving")
		}), nil},
		{"roost_units_total", counter, "Slots and pinned users that changed hands here: taken, released, dropped with a lost lease.", []string{"change"}, ofLease(func(l lease, give giveValue) {
			give(float64(l.taken), "taken")
			give(float64(l.released), "released")
			give(float64(l.dropped), "dropped")
		}), nil},
	}
}

// ofLease reads only where there is a lease.
func ofLease(read func(lease, giveValue)) func(*scrape, giveValue) {
	return func(n *scrape, give giveValue) {
		if n.observed.lease != nil {
			read(n.observed.lease(), give)
		}
	}
}

// mapMetrics are those of all nodes with a coordinator.
func mapMetrics() []metricRow {
	return []metricRow{
		{"roost_coordinator_call_duration_seconds", 0, "How long calls of the coordinator took, by operation (range, commit, watch, grant, keepalive, revoke) and result: ok; conflict, another node was first; failed, it did not answer. A watch counts when it ends, and takes no time.", []string{"operation", "result"}, nil, func(n *scrape, give giveTimes) {
			if n.observed.coordinator == nil {
				return
			}
			for call, s := range n.observed.coordinator.Calls() {
				give(s, call.Operation, call.Result)
			}
		}},
		{"roost_coordinator_connected", gauge, "1 while this node follows what happens in the cluster, else 0.", nil, ofView(func(n *scrape, give giveValue) {
			give(truth(n.observed.view.Contact().Away == nil))
		}), nil},
		{"roost_coordinator_heard_seconds", gauge, "How long ago the coordinator last said something.", nil, ofView(func(n *scrape, give giveValue) {
			give(n.observed.view.Contact().Heard.Seconds())
		}), nil},
		{"roost_cluster_revision", gauge, "Up to which change of the cluster this node knows all.", nil, ofView(func(n *scrape, give giveValue) {
			give(float64(n.observed.view.Contact().Revision))
		}), nil},
		{"roost_cluster_slots", gauge, "Slots by tag and state: held by a backend that lives, or free, so that nobody serves their users.", []string{"tag", "state"}, ofStatus(func(_ *scrape, s *cluster.Status, give giveValue) {
			for _, t := range s.Tags {
				give(float64(t.Held), t.Tag, "held")
				give(float64(t.Free), t.Tag, "free")
			}
		}), nil},
		{"roost_cluster_backend_slots", gauge, "Slots of each backend: held, wanted (it should hold them), lost (it held them when it died, and nobody has taken them).", []string{"backend", "state"}, ofStatus(func(_ *scrape, s *cluster.Status, give giveValue) {
			for _, b := range s.Backends {
				give(float64(b.Held), b.Name, "held")
				give(float64(b.Wanted), b.Name, "wanted")
				give(float64(b.Lost), b.Name, "lost")
			}
		}), nil},
		{"roost_cluster_backend_alive", gauge, "1 while the backend's lease lives, else 0.", []string{"backend"}, ofStatus(func(_ *scrape, s *cluster.Status, give giveValue) {
			for _, b := range s.Backends {
				give(truth(b.Alive), b.Name)
			}
		}), nil},
		{"roost_cluster_pins", gauge, "Users who are pinned to a backend.", nil, ofStatus(func(_ *scrape, s *cluster.Status, give giveValue) {
			give(float64(s.Pins))
		}), nil},
	}
}

// ofView reads only where there is a View.
func ofView(read func(*scrape, giveValue)) func(*scrape, giveValue) {
	return func(n *scrape, give giveValue) {
		if n.observed.view != nil {
			read(n, give)
		}
	}
}

// ofStatus reads the map of the cluster.
func ofStatus(read func(*scrape, *cluster.Status, giveValue)) func(*scrape, giveValue) {
	return ofView(func(n *scrape, give giveValue) {
		s := n.status()
		read(n, &s, give)
	})
}
