package store

import "context"

// Ownership says whose mail this process may open for writing, if a coordinator
// decides that. Its methods may be called by any number of goroutines.
type Ownership interface {
	// Claim gives the right to open a user's mail, or an *imap.Error with
	// UNAVAILABLE. It may wait a little, while the user changes hands.
	Claim(ctx context.Context, user string) (Claim, error)
}

// Claim is the right to one user's mail. It ends by itself, and may come back as
// long as nobody else had it.
type Claim interface {
	// Epoch is greater than that of every earlier holder. It goes into the names of
	// files and into manifests.
	Epoch() uint64

	// Check is nil while the right holds by the clock. It is cheap.
	Check() error

	// Confirm is called after a sync. nil says that the right was held from the last
	// Check until now without a gap, so that what was synced stands; with an
	// error nobody knows, and the change is answered neither with OK nor with NO.
	Confirm(ctx context.Context) error

	// Alive says whether the named holder is another one that still lives, and so
	// may have the account open.
	Alive(holder string) bool
}
