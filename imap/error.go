package imap

import (
	"errors"
	"fmt"
)

// Code is a response code of RFC 5530 or of the RFC that is named beside it.
// It is what one backend tells another; texts are for people only.
type Code string

// The codes Roost sends. A code without a comment is from RFC 5530 section 3.
const (
	CodeNone                 Code = ""
	CodeAlreadyExists        Code = "ALREADYEXISTS"
	CodeAuthenticationFailed Code = "AUTHENTICATIONFAILED"
	CodeAuthorizationFailed  Code = "AUTHORIZATIONFAILED"
	CodeBadCharset           Code = "BADCHARSET" // RFC 9051 section 7.1
	CodeCannot               Code = "CANNOT"
	CodeClientBug            Code = "CLIENTBUG"
	CodeContactAdmin         Code = "CONTACTADMIN"
	CodeCorruption           Code = "CORRUPTION"
	CodeExpired              Code = "EXPIRED"
	CodeExpungeIssued        Code = "EXPUNGEISSUED"
	CodeInUse                Code = "INUSE"
	CodeLimit                Code = "LIMIT"
	CodeNonExistent          Code = "NONEXISTENT"
	CodeNoPerm               Code = "NOPERM"
	CodeOverQuota            Code = "OVERQUOTA"
	CodePrivacyRequired      Code = "PRIVACYREQUIRED"
	CodeServerBug            Code = "SERVERBUG"
	CodeTooBig               Code = "TOOBIG"    // RFC 7889 section 4
	CodeTryCreate            Code = "TRYCREATE" // RFC 9051 section 7.1
	CodeUnavailable          Code = "UNAVAILABLE"
	CodeUnknownCTE           Code = "UNKNOWN-CTE" // RFC 3516 section 4.3
	CodeUseAttr              Code = "USEATTR"     // RFC 6154 section 3

	// CodeMoved is Roost's own, between a backend and the director that sent it a
	// login: the user is not here. The map's revision and the holder's name follow.
	CodeMoved Code = "X-ROOST-MOVED"

	// CodeAudience is Roost's own, for a node whose word was meant for another one: who
	// that is who has got it follows.
	CodeAudience Code = "X-ROOST-AUDIENCE"

	// RFC 5464 section 4.3: a code and its first argument.
	CodeMetadataMaxSize   Code = "METADATA MAXSIZE" // the number is MaxMetadataValue
	CodeMetadataTooMany   Code = "METADATA TOOMANY"
	CodeMetadataNoPrivate Code = "METADATA NOPRIVATE"
)

// Error is the one error that crosses layers and backends.
//
// Code travels unchanged from the owner's backend to the client. Text may be
// shown to the client: it names nothing that the client may not know. Err is
// the cause, for the log only; it is never sent.
type Error struct {
	Code Code
	Text string
	Err  error

	// Bad says that the command itself was wrong, so the answer is BAD and not NO.
	Bad bool
}

func (e *Error) Error() string {
	s := e.Text
	if e.Code != CodeNone {
		s = "[" + string(e.Code) + "] " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ErrUnknownOutcome, as the cause of an Error, says that a command failed in a
// way that leaves open whether it was done: storage broke in a commit. Neither OK
// nor NO would be true, so the connection to the client is closed. (Of mail at
// another backend package remote says it in words.)
var ErrUnknownOutcome = errors.New("it is unknown whether the command was done")

// Errorf is a refusal: the answer is NO [code] text.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Wrap is a refusal with a cause that only the log may see.
func Wrap(code Code, text string, cause error) *Error {
	return &Error{Code: code, Text: text, Err: cause}
}

// BadCommand is a command that breaks the grammar or its own rules: BAD text.
func BadCommand(format string, args ...any) *Error {
	return &Error{Text: fmt.Sprintf(format, args...), Bad: true}
}

// AsError finds the Error in err. What carries none becomes SERVERBUG, with
// err as the cause: an unknown error is never shown.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeServerBug, Text: "Internal error, see the server's log", Err: err}
}

// CodeOf is the code of err; of an unknown error it is SERVERBUG, of nil CodeNone.
func CodeOf(err error) Code {
	if err == nil {
		return CodeNone
	}
	return AsError(err).Code
}

// Refusals that several packages give in the same words, so that a mailbox
// which may not be known looks exactly like one that does not exist.

// NoMailbox is the answer for a mailbox that does not exist or may not be known.
func NoMailbox() *Error { return Errorf(CodeNonExistent, "Mailbox doesn't exist") }

// NoMailboxTryCreate is NoMailbox where RFC 9051 section 6.3.12 asks for TRYCREATE.
func NoMailboxTryCreate() *Error { return Errorf(CodeTryCreate, "Mailbox doesn't exist") }

// NoPermission is the answer where the mailbox may be known but not used so.
func NoPermission() *Error { return Errorf(CodeNoPerm, "Permission denied") }
