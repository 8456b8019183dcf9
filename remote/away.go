package remote

import (
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Away is what the back sessions of a process know of owners whose backend could not be reached
// just now. Each connection to such an owner takes seconds to fail: so one finds out, and the
// others say so at once, for a short time. It is safe for concurrent use.
type Away struct {
	holder func(server, owner string) string

	mu     sync.Mutex // guards owners
	owners map[ownerAt]absence
}

// ownerAt is an owner, as a server knows them.
type ownerAt struct{ server, owner string }

type absence struct {
	failure error
	holder  string
	until   time.Time
}

const (
	// awayTime is how long a failure holds: less than a failure takes, and not so long that
	// anybody waits for an owner who is back.
	awayTime = 1500 * time.Millisecond
	maxAway  = 10_000 // owners
)

// NewAway makes an Away. holder says who serves an owner, as far as is known, in any words: when
// they change a failure counts no more. It is cheap; nil is for nobody knows.
func NewAway(holder func(server, owner string) string) *Away {
	if holder == nil {
		holder = func(string, string) string { return "" }
	}
	return &Away{holder: holder, owners: map[ownerAt]absence{}}
}

// failure is that of another connection to the owner just now, or nil.
func (a *Away) failure(at ownerAt) error {
	if a == nil {
		return nil
	}
	holder := a.holder(at.server, at.owner)
	a.mu.Lock()
	defer a.mu.Unlock()
	x, is := a.owners[at]
	if is && (x.holder != holder || !time.Now().Before(x.until)) {
		delete(a.owners, at)
		return nil
	}
	return x.failure
}

// note takes down how an attempt to connect ended, for which holder served the owner when it
// began. An answer, such as that there is no such owner, is no failure.
func (a *Away) note(at ownerAt, holder string, err error) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil || imap.CodeOf(err) != imap.CodeUnavailable {
		delete(a.owners, at)
		return
	}
	if len(a.owners) >= maxAway {
		clear(a.owners)
	}
	a.owners[at] = absence{err, holder, time.Now().Add(awayTime)}
}

// holderOf is the holder for note.
func (a *Away) holderOf(at ownerAt) string {
	if a == nil {
		return ""
	}
	return a.holder(at.server, at.owner)
}
