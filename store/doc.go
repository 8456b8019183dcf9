// Package store is a user's mail on disk: one append-only log in segments, folded
// from time to time into tables, in one directory of the user's own. DESIGN.md
// gives the format byte by byte, and what each sync buys.
//
// A Store is what one process has open. An Account is one user's mail, shared by
// all sessions that use it; Account.As is that mail as one acting user sees it.
// What is in use lives in memory (type state), is changed by one goroutine at a
// time, the leader of the commit queue (type account), and changed only after
// the log holds the change.
//
// The package judges no rights (acl.Guard does), keeps no quota, and knows
// nothing of other backends but the name of the one that opened an account last.
package store
