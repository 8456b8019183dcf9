package director

import (
	"errors"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/sasl"
)

func unavailable(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "Account is temporarily unavailable.", cause)
}

// refused is what the client hears when the backend did not let us in: a wrong
// password looks as it does here, limits and other codes pass, and all else is
// trouble of ours.
func refused(cause error) error {
	if status, ok := errors.AsType[*imapclient.Status](cause); ok && status.Kind == imapclient.No && status.Code == imap.CodeAudience {
		return imap.Wrap(status.Code+" "+imap.Code(audience(status.Args)), "Another node has the user.", cause)
	}
	e, ok := errors.AsType[*imap.Error](cause)
	if !ok {
		return unavailable(cause)
	}
	switch e.Code {
	case imap.CodeAuthenticationFailed:
		return imap.Wrap(e.Code, "Authentication failed.", cause)
	case imap.CodeCannot:
		if errors.Is(cause, errNoDelegation) {
			return imap.Wrap(e.Code, e.Text, cause)
		}
	case imap.CodeAuthorizationFailed, imap.CodeExpired, imap.CodeContactAdmin, imap.CodeLimit, imap.CodeInUse:
		return imap.Wrap(e.Code, "Login is not possible now.", cause)
	}
	return unavailable(cause)
}

// unreachable is the error of a backend that did not come as far as to take a login.
// What it said instead is only for the log.
type unreachable struct{ cause error }

func (u unreachable) Error() string { return u.cause.Error() }

// final is an error with which no attempt follows.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// moved is what a backend says that does not hold the user: the revision of its
// map. ok is false if it says something else.
func moved(err error) (revision cluster.Revision, ok bool) {
	status, ok := errors.AsType[*imapclient.Status](err)
	if !ok || status.Kind != imapclient.No || status.Code != imap.CodeMoved {
		return 0, false
	}
	digits, holder, two := strings.Cut(status.Args, " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || digits != strconv.FormatInt(n, 10) || !two || holder == "" || strings.Contains(holder, " ") {
		return 0, false
	}
	return cluster.Revision(n), true
}

// audience is who a backend says it is, or nobody if that is no word for the wire.
func audience(args string) string {
	if args == "" || len(args) > sasl.MaxName || strings.ContainsFunc(args, func(r rune) bool { return r <= ' ' || r > '~' || r == ']' }) {
		return "-"
	}
	return args
}
