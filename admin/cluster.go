package admin

import (
	"context"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// Cluster is where users live, and what an administrator wishes of that. Errors are
// *imap.Error; NONEXISTENT for a backend that is not known. A host may be given by its
// name or, if that is unique, its address.
type Cluster interface {
	// Backends are all that are known, ordered by name.
	Backends(ctx context.Context) ([]Backend, error)

	// Place is where a user is and should be. It assigns nothing.
	Place(ctx context.Context, user, tag string) (Place, error)

	// Pins are the users that an administrator has moved, and where to.
	Pins(ctx context.Context) (map[string]cluster.Pin, error)

	// Wish changes what is wished of a backend. It returns when that is written;
	// what follows goes on by itself. A wish that is so already stays as it is.
	Wish(ctx context.Context, host string, change func(*cluster.Wish)) error

	// Pin says where one user should be; Unpin sends users back to where they are
	// without that. They return as Wish does.
	Pin(ctx context.Context, user, host, by string) error
	Unpin(ctx context.Context, users ...string) error

	// Await returns when what is wished of a backend is so. tell is called with how
	// far that has come, once in a while.
	Await(ctx context.Context, host string, tell func(Progress)) error

	// AwaitUser returns when a user is where they should be, and nowhere else.
	AwaitUser(ctx context.Context, user string, tell func(Progress)) error
}

// Coordinated is a Cluster with a coordinator.
type Coordinated interface {
	Cluster

	// Add admits a backend that has registered, or will; one that is no Roost is
	// registered by its Registration. nil: it registers itself.
	Add(ctx context.Context, host string, wish cluster.Wish, foreign *cluster.Registration) error

	// Remove forgets a backend that is not alive.
	Remove(ctx context.Context, host string) error

	// Explain is why a user is where they are.
	Explain(ctx context.Context, user, tag string) (*Explanation, error)

	// Status is how the cluster is.
	Status(ctx context.Context) (*ClusterStatus, error)

	// Nodes are those with an API that live.
	Nodes(ctx context.Context) ([]Node, error)

	// NewGeneration raises the generation above what it is, and above a given one.
	NewGeneration(ctx context.Context, above uint64) (uint64, error)

	// Moves says what would move if wishes were different, by backend's name. With
	// no wishes it is what is to move as things are.
	Moves(ctx context.Context, wishes map[string]cluster.Wish) ([]Move, error)
}

// Ring is the coordinator's own members, if nodes are that themselves.
type Ring interface {
	Members(ctx context.Context) ([]RingMember, error)
	Add(ctx context.Context, address string) error
	Remove(ctx context.Context, name string) error
}

// Backend is one as operations show it.
type Backend struct {
	Host    string        `json:"host"`
	Address string        `json:"address,omitempty"` // host or address, and port if it has one of its own
	Tag     string        `json:"tag,omitempty"`
	Weight  int           `json:"weight"`
	State   cluster.State `json:"state"`
	Since   time.Time     `json:"since,omitzero"` // of the wish
	By      string        `json:"by,omitempty"`
	Why     string        `json:"why,omitempty"`

	Alive      string    `json:"alive,omitempty"` // yes, no, or unstable: alive and given nothing yet; without a coordinator nobody knows
	AliveSince time.Time `json:"aliveSince,omitzero"`
	Trouble    string    `json:"trouble,omitempty"`
	Slots      int       `json:"slots"`          // that it holds
	Wanted     int       `json:"wanted"`         // that it should hold, as things are
	Lost       int       `json:"lost,omitempty"` // slots that it held when it died, and nobody has taken
	Pinned     int       `json:"pinned"`         // users that it holds by themselves
	Not        []string  `json:"not,omitempty"`  // why it may not take slots
	Version    string    `json:"version,omitempty"`
	Volumes    []string  `json:"volumes,omitempty"`
	Local      bool      `json:"local,omitempty"`
	Foreign    bool      `json:"foreign,omitempty"` // it is no Roost
	Stopped    bool      `json:"stopped,omitempty"` // it is foreign, and an administrator says that it writes nothing

	Health string `json:"health,omitempty"` // what this node's health checks find; it moves nobody

	Users    int `json:"users"`    // with sessions at the nodes that were asked
	Sessions int `json:"sessions"` // there
}

// Place is where a user is and should be.
type Place struct {
	User     string `json:"user"`
	Unit     string `json:"unit"`              // slot, or the user alone; without a coordinator the hash
	Hash     uint32 `json:"hash"`              // the slot, also of a user who was moved; without a coordinator the hash
	Current  string `json:"current,omitempty"` // the backend that serves the user; empty: none
	State    string `json:"state"`             // served, waiting (nobody serves the user yet) or moving
	Hashed   string `json:"hashed,omitempty"`  // where the user would be without a pin
	Initial  string `json:"initial,omitempty"` // where the configuration alone puts the user
	Pinned   string `json:"pinned,omitempty"`
	Revision int64  `json:"revision,omitempty"`
}

// Move is how many units go from one backend to another.
type Move struct {
	From  string `json:"from,omitempty"` // empty: nobody has them
	To    string `json:"to,omitempty"`   // empty: nobody may have them
	Units int    `json:"units"`
}

// Node is a process of the cluster with an API.
type Node struct {
	Name  string
	Admin string // the API's address; empty: it has none
}

// ClusterStatus is how the cluster is, as a node knows it.
type ClusterStatus struct {
	Node string `json:"node"`
	cluster.Status
	Moving   int      `json:"moving"`             // slots that are not where they belong
	Problems []string `json:"problems,omitempty"` // each a line that says what is wrong, and what to do
}

// DirectorStatus is a director that lives.
type DirectorStatus struct {
	Name    string    `json:"name"`
	Address string    `json:"address,omitempty"`
	Admin   string    `json:"admin,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Version string    `json:"version,omitempty"`
}

// RingMember is a member of the coordinator.
type RingMember struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Leader  bool   `json:"leader,omitempty"`
	Healthy bool   `json:"healthy"`
	Trouble string `json:"trouble,omitempty"`
}
