package imapwire

// AppendEmailID is our own capability, and the extension of APPEND it stands
// for (RFC 4466 section 2.2): behind the date and before the literal comes the
// EMAILID of the message that this one is a copy of. Only back sessions may
// say so: an EMAILID vouches for the content.
const AppendEmailID = "X-ROOST-EMAILID"
