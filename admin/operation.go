// Package admin is what an administrator can do with a running node: one table of
// operations, of which the command line and the HTTP API are views.
//
// An operation is a row: its name, its arguments with their types, its help, what
// it changes, whether it takes time, and a function on the small interfaces of
// Admin. Everything goes through Admin.Call, which asks whether the caller may, and
// writes what was changed, by whom, from where and with what outcome, to the log.
// Names, and columns of tables, are those of doveadm where doveadm has them.
//
// The package opens nothing and listens nowhere. What an operation says to its
// caller is a Result, and meanwhile Progress; both are the same in JSON for years,
// but for fields that are added.
package admin

import (
	"context"
	"slices"
	"strings"
)

// Operation is one row of the table. Rows are never changed.
type Operation struct {
	Name    string   // words with spaces between them, as the command line has them
	Aliases []string // other names for the last word
	Args    []Arg    // those that are words first, in their order
	Help    string   // one line
	Long    string   // more, for who asks
	Changes string   // what it changes; empty: nothing, and who may only read may call it
	DryRun  string   // an argument of type Bool with which it changes nothing; empty: there is none

	OnlyWith string // an argument of type Bool without which it changes nothing; empty: there is none

	Slow bool // it may take time, and tells its Progress

	// New makes an empty Result of its type, for decoding.
	New func() Result

	run func(ctx context.Context, c *call) (Result, error)
}

// Result is what an operation found or did: a struct that encodes as JSON.
type Result interface {
	// Table is the result for people.
	Table() Table
}

// Progress is how far an operation has come that takes time.
type Progress struct {
	Doing    string  `json:"doing"`                    // in words
	Units    int     `json:"units,omitempty"`          // slots and pinned users that have not moved yet
	Sessions *int    `json:"sessions,omitempty"`       // that have not ended yet; absent: nobody could say
	Left     float64 `json:"secondsLeft,omitempty"`    // by the rate so far; 0: it can't be told yet
	Elapsed  float64 `json:"secondsElapsed,omitempty"` // since this call
	Trouble  string  `json:"trouble,omitempty"`        // why it may take longer
}

// Operations is the table.
func Operations() []Operation {
	return slices.Concat(backendOperations(), userOperations(), ringOperations(), sessionOperations(), clusterOperations(), aclOperations(), shareOperations(), teamOperations(), nodeOperations())
}

// Find is the operation of a name; words may be separated by spaces or slashes.
func Find(name string) (*Operation, bool) {
	name = strings.ReplaceAll(name, "/", " ")
	for _, op := range Operations() {
		if op.Name == name || slices.Contains(op.names(), name) {
			return &op, true
		}
	}
	return nil, false
}

// names are the full forms of the aliases.
func (op *Operation) names() []string {
	var names []string
	for _, alias := range op.Aliases {
		names = append(names, op.Name[:strings.LastIndexByte(op.Name, ' ')+1]+alias)
	}
	return names
}

// Usage is the operation's command line.
func (op *Operation) Usage() string {
	words := []string{op.Name}
	for _, a := range op.Args {
		if a.Flag && a.Required {
			words = append(words, "-"+a.Short+" "+strings.ToUpper(a.Name))
		}
	}
	for _, a := range op.Args {
		if !a.Flag {
			words = append(words, a.usage())
		}
	}
	return strings.Join(words, " ")
}
