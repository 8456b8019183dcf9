// Package acl says who may do what with a mailbox (RFC 4314), in one place.
//
// Rights works out what an acting user may do from a mailbox's entries, and
// Guard is an Account around a home of mail that asks it before every command.
// Nothing else in Roost judges rights: a front session passes on what the
// owner's backend decided here.
//
// Entries are evaluated as Dovecot 2.3 does, weakest kind first: anyone,
// authenticated, group, owner, user, group-override, then the administrator's global
// ones in the same order; a later kind replaces what an earlier one granted, negative
// entries are taken off at the end. Two things differ on purpose: an owner keeps the
// right to administer, whatever the mailbox's own entries say, and one
// unreadable line of an ACL file does not shut everybody out (see ParseFile).
//
// Rules say which entries hold for a mailbox that has none of its own. Where it
// follows another one, a change of its ACL makes a copy first: what GETACL shows is
// what SETACL and DELETEACL change.
//
// The package keeps no state: entries live with the mailbox, in its home.
package acl
