package imapserver

import (
	"context"
	"strconv"

	"github.com/roost-mail/roost/imapwire"
)

// capabilityRow is a capability, where it is defined, and in which states it is
// shown; what it also depends on is when, if not nil.
type capabilityRow struct {
	name   string
	rfc    string
	states state
	when   func(*session) bool
}

func capabilityRows() []capabilityRow {
	return []capabilityRow{
		{"IMAP4rev1", "RFC 3501", anyState, nil},
		{"IMAP4rev2", "RFC 9051", anyState, nil},
		{"SASL-IR", "RFC 4959", notAuthenticated, nil},
		{"LITERAL+", "RFC 7888", anyState, nil},
		{"ID", "RFC 2971", anyState, nil},
		{"ENABLE", "RFC 5161", anyState, nil},
		{"IDLE", "RFC 2177", anyState, nil},
		{"STARTTLS", "RFC 3501", notAuthenticated, (*session).offersTLS},
		{"LOGINDISABLED", "RFC 3501", notAuthenticated, func(s *session) bool { return !s.client.Secured }},
		{"NAMESPACE", "RFC 2342", loggedIn, nil},
		{"NOTIFY", "RFC 5465", loggedIn, nil},
		{"CHILDREN", "RFC 3348", loggedIn, nil},
		{"UNSELECT", "RFC 3691", loggedIn, nil},
		{"UIDPLUS", "RFC 4315", loggedIn, nil},
		{"ESEARCH", "RFC 4731", loggedIn, nil},
		{"SORT", "RFC 5256", loggedIn, nil},
		{"SORT=DISPLAY", "RFC 5957", loggedIn, nil},
		{"ESORT", "RFC 5267 section 3", loggedIn, nil},
		{"THREAD=ORDEREDSUBJECT", "RFC 5256", loggedIn, nil},
		{"THREAD=REFERENCES", "RFC 5256", loggedIn, nil},
		{"THREAD=REFS", "draft-ietf-morg-inthread-01", loggedIn, nil},
		{"WITHIN", "RFC 5032", loggedIn, nil},
		{"PARTIAL", "RFC 9394", loggedIn, nil},
		{"I18NLEVEL=1", "RFC 5255", loggedIn, nil},
		{"MULTIAPPEND", "RFC 3502", loggedIn, nil},
		{"CONDSTORE", "RFC 7162", loggedIn, nil},
		{"QRESYNC", "RFC 7162", loggedIn, nil},
		{"SEARCHRES", "RFC 5182", loggedIn, nil},
		{"UTF8=ACCEPT", "RFC 6855", loggedIn, nil},
		{"MOVE", "RFC 6851", loggedIn, nil},
		{"LIST-EXTENDED", "RFC 5258", loggedIn, nil},
		{"LIST-STATUS", "RFC 5819", loggedIn, nil},
		{"LIST-MYRIGHTS", "RFC 8440", loggedIn, nil},
		{"STATUS=SIZE", "RFC 8438", loggedIn, nil},
		{"COMPRESS=DEFLATE", "RFC 4978", loggedIn, func(s *session) bool { return s.deflated == nil }},
		{"BINARY", "RFC 3516", loggedIn, nil},
		{"OBJECTID", "RFC 8474", loggedIn, nil},
		{"SAVEDATE", "RFC 8514", loggedIn, nil},
		{"PREVIEW", "RFC 8970", loggedIn, nil},
		{imapwire.AppendEmailID, "docs/imap.md", loggedIn, (*session).isBack},
		{imapwire.SelectKnown, "docs/imap.md", loggedIn, (*session).isBack},
		{"SPECIAL-USE", "RFC 6154", loggedIn, nil},
		{"CREATE-SPECIAL-USE", "RFC 6154", loggedIn, nil},
		{"METADATA", "RFC 5464", loggedIn, nil},
		{"QUOTA", "RFC 9208", loggedIn, nil},
		{"QUOTA=RES-STORAGE", "RFC 9208 section 5.1", loggedIn, nil},
		{"QUOTA=RES-MESSAGE", "RFC 9208 section 5.2", loggedIn, nil},
		{"APPENDLIMIT", "RFC 7889", loggedIn, nil},
		{"UNAUTHENTICATE", "RFC 8437", loggedIn, (*session).canUnauthenticate},
		{"ACL", "RFC 4314", loggedIn, nil},
		{"RIGHTS=texk", "RFC 4314 section 2.2", loggedIn, nil},
	}
}

// capabilities are those of the present state, separated by spaces.
func (s *session) capabilities() string {
	list := make([]byte, 0, 1024)
	add := func(words ...string) {
		if len(list) > 0 {
			list = append(list, ' ')
		}
		for _, w := range words {
			list = append(list, w...)
		}
	}
	for i := range s.srv.capabilities {
		if r := &s.srv.capabilities[i]; r.states&s.state != 0 && (r.when == nil || r.when(s)) {
			add(r.name, s.capabilityValue(r.name))
		}
	}
	for _, m := range s.cfg.Mechanisms { // RFC 3501 section 7.2.1
		if s.state == notAuthenticated && s.speaks(m) && (s.client.Secured || !m.Plaintext && !s.cfg.SecuredOnly()) {
			add("AUTH=", m.Name)
		}
	}
	return string(list)
}

// capabilityValue is what a capability says behind its name. RFC 7889 section 2:
// APPENDLIMIT tells the one limit of all mailboxes, or none if they differ.
func (s *session) capabilityValue(name string) string {
	if name == "APPENDLIMIT" && !s.cfg.AppendLimitVaries {
		return "=" + strconv.FormatInt(s.cfg.MaxMessage, 10)
	}
	return ""
}

// capability is CAPABILITY. RFC 3501 section 6.1.1.
func (s *session) capability(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	s.enc.RawString("* CAPABILITY ").RawString(s.capabilities()).CRLF()
	return nil
}
