package trust

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/sasl"
)

// Life is how long a Delegation is good, if the clocks agree.
const Life = 30 * time.Second

// Signer gives the words of this backend. It may be used by any number of goroutines.
type Signer struct {
	Keys     *Keys
	View     *cluster.View
	Template cluster.Template // director_username_hash
	Name     string           // of this backend
}

var errNotOurs = errors.New("this backend does not hold the user now")

// Sign asks for acting, who must be held here, to open the owner's mail, of a backend that
// has named itself as audience; empty is the one that has the owner, as far as is
// known. Names are normalised.
func (s *Signer) Sign(owner, acting, audience string) (*sasl.Delegation, error) {
	now := time.Now()
	d := &sasl.Delegation{
		Owner: owner, Acting: acting, Asker: s.Name, Audience: audience,
		Issued: now.Truncate(time.Millisecond), Expires: now.Add(Life).Truncate(time.Millisecond),
	}
	_, _ = rand.Read(d.Nonce[:]) // never fails
	var self cluster.Node
	var held cluster.Revision
	s.View.Read(func(m *cluster.Map) {
		self, _ = m.Node(s.Name)
		held = holding(m, self, s.Template, acting)
		if audience == "" {
			d.Audience = audienceFor(m, s.Template, owner, self.Registration.Tag)
		}
	})
	if held == 0 {
		return nil, fmt.Errorf("user %q: %w", acting, errNotOurs)
	}
	d.Revision = int64(max(held, self.AliveAt))
	return d, s.Keys.sign(d, self.Alive.Keys)
}

// holding is the revision of the record by which a backend holds a user; 0 if it does
// not.
func holding(m *cluster.Map, n cluster.Node, t cluster.Template, user string) cluster.Revision {
	held, at := m.Held(m.UnitOf(user, n.Registration.Tag, cluster.SlotOf(t, user)))
	if held.Backend != n.Name || !m.Holds(held) {
		return 0
	}
	return at
}

// audienceFor is who has a user: a backend with this tag, or else with any. A guess
// that is wrong, as the user's own tag is not known, is put right by who gets it.
func audienceFor(m *cluster.Map, t cluster.Template, user, tag string) string {
	tags := []string{tag}
	for _, n := range m.Nodes() {
		if !slices.Contains(tags, n.Registration.Tag) {
			tags = append(tags, n.Registration.Tag)
		}
	}
	for _, tag := range tags {
		held, _ := m.Held(m.UnitOf(user, tag, cluster.SlotOf(t, user)))
		if m.Holds(held) {
			return Audience(held.Backend, held.Incarnation)
		}
	}
	return ""
}

// Audience is how a process names itself: what was said to the one before it, which
// may remember what it has accepted, does not count. It is one word, whatever the name.
func Audience(name, incarnation string) string { return url.PathEscape(name) + "/" + incarnation }
