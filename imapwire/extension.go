package imapwire

// AppendEmailID is our own capability, and the extension of APPEND it stands
// for (RFC 4466 section 2.2): behind the date and before the literal comes the
// EMAILID of the message that this one is a copy of. Only back sessions may
// say so: an EMAILID vouches for the content.
const AppendEmailID = "X-ROOST-EMAILID"

// SelectKnown is our own capability, and the parameter of SELECT and EXAMINE it stands for
// (RFC 4466 section 2.1): the MAILBOXID of a mailbox that was selected before, in parentheses. If
// it may not be known any more, NOPERM says that it is still there. Only back sessions may say it.
const SelectKnown = "X-ROOST-KNOWN"
