package cluster

import "time"

// Params are what all nodes must agree on for ever. The first node writes them; one
// that differs does not join.
type Params struct {
	Algorithm  int    `json:"algorithm"`  // of SlotOf and of placement: 1
	Slots      int    `json:"slots"`      // Slots
	UserHash   string `json:"userHash"`   // director_username_hash
	NameFormat string `json:"nameFormat"` // auth_username_format
	Generation uint64 `json:"generation"` // from 1; raised when a coordinator was made anew

	// Format is the highest format of any record here; 0 is 1. A program that knows only
	// lower ones does not join. Fields that it may pass over raise no format.
	Format int `json:"format,omitempty"`
}

// Format is the highest format of records that this program knows.
const Format = 1

// Registration is what a backend says of itself. It stays when the backend goes.
type Registration struct {
	Host    string   `json:"host"` // where directors reach it: a name or an address
	Port    uint16   `json:"port"`
	TLS     string   `json:"tls,omitempty"` // "", "starttls" or "imaps"
	Tag     string   `json:"tag,omitempty"`
	Volumes []string `json:"volumes,omitempty"` // ids of the filesystems it has mounted
	Local   bool     `json:"local,omitempty"`   // mail_volume_shared = no: nothing of it is ever taken over
	Foreign bool     `json:"foreign,omitempty"` // no Roost: a director keeps its units
	Version string   `json:"version,omitempty"`
	Admin   string   `json:"admin,omitempty"` // address of its HTTP API

	// Probe is the user that health checks of this backend log in as, normalised, and is
	// pinned to it whatever is wished of it; "" if there is none.
	Probe string `json:"probe,omitempty"`
}

// Wish is what the administrator wants of a backend. Health never changes it.
type Wish struct {
	State  State     `json:"state"`
	Weight int       `json:"weight"` // 0 to MaxWeight
	By     string    `json:"by,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Why    string    `json:"why,omitempty"`

	// Stopped is the administrator's word that a foreign backend which can't be reached
	// writes nothing any more.
	Stopped bool `json:"stopped,omitempty"`
}

// State is what an administrator can wish.
type State string

// The states. A backend that is draining or down should hold nothing; a draining one
// gives up its units at a bounded rate, one that is down at once.
const (
	Up    State = "up"
	Drain State = "drain"
	Down  State = "down"
)

// Alive says that a backend lives, as long as its lease does.
type Alive struct {
	Incarnation string    `json:"incarnation"` // of the process
	Since       time.Time `json:"since"`       // for display
	Candidate   bool      `json:"candidate"`   // may be given units: it has been stable for long enough
	Trouble     string    `json:"trouble,omitempty"`
	Keys        NodeKeys  `json:"keys,omitzero"` // by which others know its signatures, while it lives
}

// NodeKeys are the public keys of a process: one, or two while the second takes over.
type NodeKeys [2]NodeKey

// NodeKey is a public key. What it has signed counts up to a moment.
type NodeKey struct {
	Public string `json:"public,omitempty"` // Ed25519, base64; empty: none
	Until  int64  `json:"until,omitempty"`  // seconds of Unix
}

// Life is what a backend leaves behind for the process that comes after it.
type Life struct {
	Clean  bool `json:"clean,omitempty"`  // it gave up everything before it ended
	Deaths int  `json:"deaths,omitempty"` // how often it lost its lease without that, lately
}

// Held says who holds a unit. It is valid while the backend's Alive has the lease.
// Without a lease it says who gave up a user for others to take.
type Held struct {
	Backend     string  `json:"backend"`
	Incarnation string  `json:"incarnation"`
	Lease       LeaseID `json:"lease"`
	Leaving     bool    `json:"leaving,omitempty"` // of a foreign backend's: it gets no more sessions, and those that it has are being ended
	Tag         string  `json:"tag,omitempty"`     // of a user's slot; of a slot's record ""

	// First is the revision since which the backend has held the unit, through losses
	// of its lease; 0: that of the record.
	First Revision `json:"first,omitempty"`
}

// Pin places one user.
type Pin struct {
	Backend string    `json:"backend"`
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// DirectorRecord says that a director lives, as long as its lease does.
type DirectorRecord struct {
	Incarnation string    `json:"incarnation"`
	Since       time.Time `json:"since"`
	Addr        string    `json:"addr,omitempty"`  // where clients reach it
	Admin       string    `json:"admin,omitempty"` // address of its HTTP API
	Version     string    `json:"version,omitempty"`

	// Confirmed is a revision: what was leaving a foreign backend by then has no
	// session through this director any more.
	Confirmed Revision `json:"confirmed,omitempty"`
}
