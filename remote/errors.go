package remote

import (
	"errors"
	"fmt"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
)

func unavailable(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "Mailbox is temporarily unavailable", cause)
}

// unknown is the answer for what may have been done or not. Neither OK nor NO is
// true, but a client has other mailboxes open by the same connection, which live:
// so it is told in words.
func unknown(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "The mailbox's server was lost: it is unknown whether this was done", fmt.Errorf("%w: %w", errUnknown, cause))
}

var errUnknown = errors.New("answer was lost")

// refusal is a refused command as our client may see it. A peer that gives no
// code means meant.
func refusal(err error, meant imap.Code) error {
	e, ok := errors.AsType[*imap.Error](err)
	if !ok || e.Code != imap.CodeNone {
		return err
	}
	return withCode(meant, e.Err)
}

// intoRefusal is the refusal of APPEND, COPY and MOVE, where a mailbox that is
// missing is asked for with TRYCREATE.
func intoRefusal(err error) error {
	err = refusal(err, imap.CodeCannot)
	if e, ok := errors.AsType[*imap.Error](err); ok && e.Code == imap.CodeNonExistent {
		return withCode(imap.CodeTryCreate, e.Err)
	}
	return err
}

// Arrived is an error of mail in this process, in the words in which it would have
// come from another backend. What is no *imap.Error stays as it is.
func Arrived(err error) error {
	e, ok := errors.AsType[*imap.Error](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, imap.ErrUnknownOutcome):
		return unknown(errors.New(err.Error())) // which is not to end the client's connection
	case e.Bad:
		return badIdentifier(err)
	}
	s := &imapclient.Status{Kind: imapclient.No, Text: e.Error()}
	code, args, _ := strings.Cut(string(e.Code), " ")
	s.Code, s.Args = imap.Code(code), args
	arrived := imap.AsError(refusal(s.Err(), imap.CodeCannot))
	arrived.Err = err
	return arrived
}

func withCode(code imap.Code, cause error) error {
	var e *imap.Error
	switch code {
	case imap.CodeNonExistent:
		e = imap.NoMailbox()
	case imap.CodeTryCreate:
		e = imap.NoMailboxTryCreate()
	case imap.CodeNoPerm:
		e = imap.NoPermission()
	default:
		e = imap.Errorf(code, "Not possible")
	}
	e.Err = cause
	return e
}

// loginRefusal is a refused login. An owner who does not exist or may not be
// opened, for which the password was right, looks like a mailbox that does not
// exist. A password that is refused is a fault of ours: mail must not seem to be
// gone, or clients that synchronise delete it.
func loginRefusal(err error) error {
	e, ok := errors.AsType[*imap.Error](err)
	if !ok {
		return unavailable(err)
	}
	switch e.Code {
	case imap.CodeAuthorizationFailed:
		return withCode(imap.CodeNonExistent, err)
	}
	return unavailable(err)
}
