// Package imapserver is one client connection: its state, its table of
// commands, and its view of sequence numbers.
//
// A Server owns the set of connections. A session belongs to the goroutine of
// ServeConn; nothing else touches it, but for stream.wake, which Shutdown and
// Mailbox.Watch call from outside. Commands run one after the other, so
// pipelined commands take effect in the order in which they came.
//
// A command is a row of the table in table.go and a function in a file of its
// own, with four parts in this order: parse, check, call, write. Nothing
// changes before a command is parsed to the end of its line.
//
// Sequence numbers exist here and nowhere else: view holds what the client was
// told, and only session.sync changes it (RFC 9051 section 7.5.1). The
// session keeps no lock of a mailbox while it writes, and no buffer while it waits.
//
// Who may log in, what a mailbox is and who may do what with it is not decided
// here: Authenticator and mailbox.Account answer that.
package imapserver
