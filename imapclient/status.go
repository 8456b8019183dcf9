package imapclient

import (
	"fmt"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// StatusKind is the word that a status response begins with.
type StatusKind string

// The five status responses of RFC 9051 section 7.1.
const (
	OK      StatusKind = "OK"
	No      StatusKind = "NO"
	Bad     StatusKind = "BAD"
	Bye     StatusKind = "BYE"
	Preauth StatusKind = "PREAUTH"
)

// Status is a status response. Text is the server's and never shown to anyone
// but the administrator, in logs.
type Status struct {
	Kind StatusKind
	Code imap.Code // in capitals
	Args string    // of the code, as they came
	Text string
}

// Error makes a Status the cause of an imap.Error.
func (s *Status) Error() string {
	if s.Code == imap.CodeNone {
		return fmt.Sprintf("server says %s %.200q", s.Kind, s.Text)
	}
	return fmt.Sprintf("server says %s [%s] %.200q", s.Kind, s.Code, s.Text)
}

// Err is nil for OK, else the refusal in our words, with the server's code if
// that is one of package imap's.
func (s *Status) Err() error {
	switch {
	case s.Kind == OK || s.Kind == Preauth:
		return nil
	case s.Kind == Bad:
		return &imap.Error{Code: imap.CodeServerBug, Text: textOf(imap.CodeServerBug), Err: s}
	}
	code := s.Code
	if argument, _, _ := strings.Cut(s.Args, " "); code == "METADATA" {
		code += imap.Code(" " + strings.ToUpper(argument))
	}
	if textOf(code) == "" {
		code = imap.CodeNone
	}
	return &imap.Error{Code: code, Text: textOf(code), Err: s}
}

// textOf is what we say for a refusal with a code; "" for codes that we do not
// pass on.
func textOf(code imap.Code) string {
	switch code {
	case imap.CodeNonExistent, imap.CodeTryCreate:
		return imap.NoMailbox().Text
	case imap.CodeNoPerm, imap.CodeAuthorizationFailed:
		return imap.NoPermission().Text
	case imap.CodeAlreadyExists:
		return "Mailbox already exists"
	case imap.CodeAuthenticationFailed:
		return "Authentication failed"
	case imap.CodeBadCharset:
		return "Unknown charset"
	case imap.CodeContactAdmin:
		return "Please contact your administrator"
	case imap.CodeCorruption:
		return "Data is damaged"
	case imap.CodeExpired:
		return "Password has expired"
	case imap.CodeExpungeIssued:
		return "Some messages no longer exist"
	case imap.CodeInUse:
		return "In use"
	case imap.CodeLimit:
		return "Limit reached"
	case imap.CodeUseAttr:
		return "Special use is not possible"
	case imap.CodeMetadataMaxSize:
		return "Value is too long"
	case imap.CodeMetadataTooMany:
		return "Too many entries"
	case imap.CodeMetadataNoPrivate:
		return "No private entries here"
	case imap.CodeOverQuota:
		return "Quota exceeded"
	case imap.CodePrivacyRequired:
		return "Encryption is required"
	case imap.CodeUnknownCTE:
		return "Content-Transfer-Encoding is unknown"
	case imap.CodeTooBig:
		return "Too big"
	case imap.CodeUnavailable:
		return "Temporarily unavailable"
	case imap.CodeServerBug:
		return "Internal error, see the server's log"
	case imap.CodeNone, imap.CodeCannot, imap.CodeClientBug:
		return "Not possible"
	}
	return ""
}
