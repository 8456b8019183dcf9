// Package mailbox is what a user's mail is: the interfaces Account and Mailbox,
// which every home of mail implements and every policy wraps.
//
// The homes are store (this machine's disk), remote (another backend, over
// IMAP) and mailboxmem (memory, for tests); acl.Guard and namespace.Tree are
// Accounts around Accounts. mailboxtest is run against each of them: what works
// on one's own mail works the same on mail that someone else shares.
//
// An Account belongs to one session and acts for one user, the acting user. It
// is not the owner's data but a view of it: the acting user's own `\Seen` where
// that is private, and no more than the acting user's rights where a guard is
// around it. Many Accounts may view the same mail at once.
//
// Messages are named by UID throughout. Sequence numbers exist only between a
// session and its client, and `\Recent` and the sets that a client writes with
// `*` are resolved there.
//
// All errors are *imap.Error or become SERVERBUG. A method may be called from
// one goroutine at a time per Account or Mailbox value, Watch's callback and
// Close excepted.
package mailbox
