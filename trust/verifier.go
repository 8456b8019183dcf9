package trust

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

const (
	// Skew is by how much the clocks of two nodes may differ.
	Skew = 10 * time.Second

	mapLimit  = 2 * time.Second // for the map to reach what the asker knows
	longest   = Life + 2*Skew   // between the first and the last moment at which a Delegation can be accepted
	maxNonces = 1 << 17         // of one asker, in that time: 24 bytes each
	noAnswer  = "Authentication failed."
)

// Why a Delegation is refused, but for times and moved users.
var (
	errNotANode  = errors.New("the asking node is no living backend of this cluster")
	errKey       = errors.New("the asking node has no such key")
	errSignature = errors.New("the signature is wrong")
	errOneself   = errors.New("owner and acting user are the same: a node has no need to ask for that")
	errTag       = errors.New("the acting user is of another tag than the asking node")
	errAudience  = errors.New("it is meant for another node")
	errReplay    = errors.New("it was used already")
	errTooMany   = errors.New("the asking node has opened too many connections lately")
)

// Verifier decides what other backends may ask. It may be used by any number of
// goroutines.
type Verifier struct {
	View     *cluster.View
	Template cluster.Template // director_username_hash
	Clock    cluster.Clock
	Self     string // Audience of this process

	mu   sync.Mutex // guards seen
	seen map[string]*nonces
}

// nonces are what one asker has used: since turned, and for longest before that.
type nonces struct {
	turned   time.Duration
	now, old map[[16]byte]struct{}
}

// Check says whether the asker has signed, and may ask for the acting user at this
// moment. It waits for the map to reach what the asker knows, not longer than mapLimit. The
// error is an *imap.Error with AUTHENTICATIONFAILED, whose cause is for the log.
//
// That the asker holds the user is asked for this moment alone: who has just given a user
// up has ended its sessions before.
func (v *Verifier) Check(ctx context.Context, d *sasl.Delegation) (asker cluster.Node, err error) {
	if asker, err = v.check(ctx, d); err != nil {
		return cluster.Node{}, refused(d, err)
	}
	return asker, nil
}

func (v *Verifier) check(ctx context.Context, d *sasl.Delegation) (asker cluster.Node, err error) {
	now := time.Now()
	if err := timely(d, now); err != nil {
		return asker, err
	}
	if d.Owner == d.Acting {
		return asker, errOneself
	}
	ctx, cancel := context.WithTimeout(ctx, mapLimit)
	defer cancel()
	judged := errors.New("the cluster's map is not known")
	_ = v.View.Await(ctx, func(m *cluster.Map) bool { // the last judgement stands
		asker, judged = v.judge(m, d, now)
		return judged == nil || m.Revision > 0 && m.Revision >= cluster.Revision(d.Revision)
	})
	if judged != nil {
		return asker, judged
	}
	if !d.SignedBy(find(asker.Alive.Keys, d.Key, now)) {
		return asker, errSignature
	}
	return asker, nil
}

// judge is what the map says of a Delegation.
func (v *Verifier) judge(m *cluster.Map, d *sasl.Delegation, now time.Time) (cluster.Node, error) {
	n, _ := m.Node(d.Asker)
	switch {
	case n.RegisteredAt == 0 || n.AliveAt == 0 || n.Registration.Foreign:
		return n, fmt.Errorf("%w, by the map of revision %d", errNotANode, m.Revision)
	case find(n.Alive.Keys, d.Key, now) == nil:
		return n, fmt.Errorf("%w as %x, by the map of revision %d", errKey, d.Key, m.Revision)
	case holding(m, n, v.Template, d.Acting) == 0:
		unit := m.UnitOf(d.Acting, n.Registration.Tag, cluster.SlotOf(v.Template, d.Acting))
		held, at := m.Held(unit)
		return n, fmt.Errorf("the asking node does not hold the acting user: %v is held by %q since revision %d, by the map of revision %d",
			unit, held.Backend, at, m.Revision)
	}
	return n, nil
}

// timely tells clocks that differ from words that are old.
func timely(d *sasl.Delegation, now time.Time) error {
	switch {
	case d.Expires.Sub(d.Issued) > Life || d.Expires.Before(d.Issued):
		return fmt.Errorf("it claims to be good for %v; at most %v is", d.Expires.Sub(d.Issued), Life)
	case d.Issued.Sub(now) > Skew:
		return fmt.Errorf("it is of the future: the clock of %s is %v ahead of ours, and %v are tolerated: look at both clocks",
			d.Asker, d.Issued.Sub(now), Skew)
	case now.Sub(d.Expires) > Skew:
		return fmt.Errorf("it has expired: it was signed %v ago by our clock; that of %s is behind by as much, or it was used too late: look at both clocks",
			now.Sub(d.Issued), d.Asker)
	}
	return nil
}

// CheckTag refuses an acting user who is known to be of another tag than the asker: both
// tags have a slot of that number.
func CheckTag(d *sasl.Delegation, asker cluster.Node, tag string) error {
	if tag == "" || tag == asker.Registration.Tag {
		return nil
	}
	return refused(d, errTag)
}

// Accept takes what Check found good, once, where the mail is. The error is
// an *imap.Error: with CodeAudience and who we are if it was meant for somebody else, and
// otherwise as of Check.
func (v *Verifier) Accept(d *sasl.Delegation) error {
	if d.Audience != v.Self {
		return imap.Wrap(imap.Code(fmt.Sprintf("%s %s", imap.CodeAudience, v.Self)), "Another node has the user.",
			fmt.Errorf("delegation of %s for %q: %w", d.Asker, d.Audience, errAudience))
	}
	if err := v.use(d.Asker, d.Nonce); err != nil {
		return refused(d, err)
	}
	return nil
}

// Stands says whether an asker may still ask for a user, by the map as it is. What was
// opened by a word ends when it does not.
func (v *Verifier) Stands(asker, acting string) (yes bool) {
	v.View.Read(func(m *cluster.Map) {
		n, _ := m.Node(asker)
		yes = holding(m, n, v.Template, acting) != 0
	})
	return yes
}

// use remembers a nonce for as long as it could be used again.
func (v *Verifier) use(asker string, nonce [16]byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[string]*nonces{}
	}
	s := v.seen[asker]
	if s == nil {
		v.forget()
		s = &nonces{}
		v.seen[asker] = s
	}
	s.turn(v.Clock.Now())
	_, is := s.now[nonce]
	_, was := s.old[nonce]
	switch {
	case is || was:
		return errReplay
	case len(s.now) >= maxNonces:
		return errTooMany
	}
	s.now[nonce] = struct{}{}
	return nil
}

// turn makes now's nonces old, and old ones go, when longest has passed.
func (s *nonces) turn(now time.Duration) {
	switch age := now - s.turned; {
	case s.now != nil && age < longest:
		return
	case age < 2*longest:
		s.old = s.now
	default:
		s.old = nil
	}
	s.now, s.turned = map[[16]byte]struct{}{}, now
}

// forget drops askers whose nonces are all too old: those who have left are among them.
func (v *Verifier) forget() {
	for name, s := range v.seen {
		if v.Clock.Now()-s.turned >= 2*longest {
			delete(v.seen, name)
		}
	}
}

func refused(d *sasl.Delegation, cause error) error {
	return imap.Wrap(imap.CodeAuthenticationFailed, noAnswer,
		fmt.Errorf("delegation of %q for user %q, acting %q: %w", d.Asker, d.Owner, d.Acting, cause))
}
