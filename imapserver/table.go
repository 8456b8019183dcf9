package imapserver

import (
	"context"
	"maps"
	"slices"
)

// row is a command: in which states it is allowed, what is particular about
// it, what its tagged OK says, and what does it.
type row struct {
	name   string
	states state
	flags  rowFlags
	done   string
	run    func(*session, context.Context, *command) error
}

type rowFlags uint8

const (
	// byUID: the command names messages by UID. RFC 9051 section 6.4.9.
	byUID rowFlags = 1 << iota

	// holdsExpunges: no EXPUNGE may be told while it runs, because it names
	// messages by sequence number. RFC 9051 section 7.5.1.
	holdsExpunges

	// asksHome: the mailbox's home is asked for news at the end.
	asksHome

	// changes: refused in a mailbox that was opened by EXAMINE.
	changes

	// expunges: its OK tells HIGHESTMODSEQ after a VANISHED.
	expunges
)

// commandRows is the table of all commands, by their names.
func commandRows() map[string]*row {
	all := []row{
		// RFC 3501 section 6.1: any state.
		{"CAPABILITY", anyState, 0, "Capability completed.", (*session).capability},
		{"NOOP", anyState, asksHome, "NOOP completed.", (*session).noop},
		{"LOGOUT", anyState, 0, "Logout completed.", (*session).logout},
		{"ID", anyState, 0, "ID completed.", (*session).id}, // RFC 2971

		// RFC 3501 section 6.2: not authenticated.
		{"STARTTLS", notAuthenticated, 0, "Begin TLS negotiation now.", (*session).startTLS},
		{"LOGIN", notAuthenticated, 0, "Logged in", (*session).loginCommand},
		{"AUTHENTICATE", notAuthenticated, 0, "Logged in", (*session).authenticate}, // with RFC 4959

		// RFC 3501 section 6.3: authenticated.
		{"UNAUTHENTICATE", loggedIn, 0, "Unauthenticate completed.", (*session).unauthenticate}, // RFC 8437
		{"ENABLE", loggedIn, 0, "Enabled.", (*session).enable},                                  // RFC 5161
		{"COMPRESS", loggedIn, 0, "Begin compression.", (*session).compress},                    // RFC 4978
		{"SELECT", loggedIn, 0, "Select completed.", (*session).selectMailbox},
		{"EXAMINE", loggedIn, 0, "Examine completed.", (*session).examine},
		{"CREATE", loggedIn, 0, "Create completed.", (*session).create},
		{"DELETE", loggedIn, 0, "Delete completed.", (*session).deleteMailbox},
		{"RENAME", loggedIn, 0, "Rename completed.", (*session).rename},
		{"SUBSCRIBE", loggedIn, 0, "Subscribe completed.", (*session).subscribe},
		{"UNSUBSCRIBE", loggedIn, 0, "Unsubscribe completed.", (*session).unsubscribe},
		{"LIST", loggedIn, 0, "List completed.", (*session).list},
		{"LSUB", loggedIn, 0, "Lsub completed.", (*session).lsub},
		{"STATUS", loggedIn, 0, "Status completed.", (*session).status},
		{"NAMESPACE", loggedIn, 0, "Namespace completed.", (*session).namespace}, // RFC 2342
		{"APPEND", loggedIn, 0, "Append completed.", (*session).append},          // with RFC 3502, 4315
		{"IDLE", loggedIn, 0, "Idle completed.", (*session).idle},                // RFC 2177
		{"NOTIFY", loggedIn, 0, "Notify completed.", (*session).notifyCommand},   // RFC 5465

		// RFC 4314 section 3.
		{"SETACL", loggedIn, 0, "Setacl complete.", (*session).setACL},
		{"DELETEACL", loggedIn, 0, "Deleteacl complete.", (*session).deleteACL},
		{"GETACL", loggedIn, 0, "Getacl completed.", (*session).getACL},
		{"LISTRIGHTS", loggedIn, 0, "Listrights completed.", (*session).listRights},
		{"MYRIGHTS", loggedIn, 0, "Myrights completed.", (*session).myRights},

		// RFC 9208 section 4.1.
		{"GETQUOTA", loggedIn, 0, "Getquota completed.", (*session).getQuota},
		{"GETQUOTAROOT", loggedIn, 0, "Getquotaroot completed.", (*session).getQuotaRoot},
		{"SETQUOTA", loggedIn, 0, "Setquota completed.", (*session).setQuota},

		// RFC 5464 section 4.
		{"GETMETADATA", loggedIn, 0, "Getmetadata completed.", (*session).getMetadata},
		{"SETMETADATA", loggedIn, 0, "Setmetadata completed.", (*session).setMetadata},

		// RFC 3501 section 6.4: selected.
		{"CHECK", selected, asksHome, "Check completed.", (*session).noop},
		{"CLOSE", selected, 0, "Close completed.", (*session).closeCommand},
		{"UNSELECT", selected, 0, "Unselect completed.", (*session).unselect}, // RFC 3691
		{"EXPUNGE", selected, asksHome | changes | expunges, "Expunge completed.", (*session).expunge},
		{"SEARCH", selected, holdsExpunges, "Search completed.", (*session).search}, // with RFC 4731
		{"SORT", selected, holdsExpunges, "Sort completed.", (*session).sort},       // RFC 5256, with RFC 5267 and 5957
		{"THREAD", selected, holdsExpunges, "Thread completed.", (*session).thread}, // RFC 5256
		{"FETCH", selected, holdsExpunges, "Fetch completed.", (*session).fetch},
		{"STORE", selected, holdsExpunges | changes, "Store completed.", (*session).store},
		{"COPY", selected, 0, "Copy completed.", (*session).copy},
		{"MOVE", selected, asksHome | changes | expunges, "Move completed.", (*session).move}, // RFC 6851

		// RFC 3501 section 6.4.8.
		{"UID SEARCH", selected, byUID, "Search completed.", (*session).search},
		{"UID SORT", selected, byUID, "Sort completed.", (*session).sort},
		{"UID THREAD", selected, byUID, "Thread completed.", (*session).thread},
		{"UID FETCH", selected, byUID, "Fetch completed.", (*session).fetch},
		{"UID STORE", selected, byUID | changes, "Store completed.", (*session).store},
		{"UID COPY", selected, byUID, "Copy completed.", (*session).copy},
		{"UID MOVE", selected, byUID | asksHome | changes | expunges, "Move completed.", (*session).move},
		{"UID EXPUNGE", selected, byUID | asksHome | changes | expunges, "Expunge completed.", (*session).uidExpunge}, // RFC 4315
	}
	rows := make(map[string]*row, len(all))
	for i := range all {
		rows[all[i].name] = &all[i]
	}
	return rows
}

// Commands are the names of all commands, in order.
func Commands() []string { return slices.Sorted(maps.Keys(commandRows())) }

// is says whether the command is all of f.
func (r *row) is(f rowFlags) bool { return r != nil && r.flags&f == f }
