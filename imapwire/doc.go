// Package imapwire turns bytes into IMAP words and words into bytes.
//
// It is the tokenizer and the encoder under both sides of the protocol: the
// server reads commands and writes responses, the client does the reverse.
// It knows atoms, strings, literals, lists, numbers, dates and modified UTF-7;
// it knows no command, no state and no mailbox.
//
// A Decoder pulls tokens. A method such as Atom takes its token if the next
// byte can begin one, and otherwise returns false and consumes nothing; the
// method ExpectAtom makes an error of the same. The first error stays until
// SkipLine, so a command is parsed as one condition and asked once for Err.
// What the peer may make us hold is bounded by Limits before it is allocated.
//
// An Encoder appends tokens. Its first error stays until Flush; a line with
// an error is taken back whole, so the peer never sees half of it.
//
// Decoder and Encoder each belong to one goroutine at a time. Both borrow
// their buffer from a pool and return it when they are idle, so a connection
// that waits holds none.
package imapwire
