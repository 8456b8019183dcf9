package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/roost-mail/roost/imap"
)

// Admin is a node as its administrator sees it. Fields are not changed after the
// first Call; of those that are nil, operations say that the node has no such thing.
// Calls may run at once.
type Admin struct {
	Node     string // its name in the cluster
	Log      *slog.Logger
	Cluster  Cluster
	Sessions Sessions
	Peers    Peers
	Ring     Ring
	Users    UserNames
	ACLs     ACLs   // nil where no mail is kept
	Shares   Shares // likewise
	Teams    Teams  // likewise

	// Health is what health checks find of a backend, in words; "" if it has none. nil:
	// there are none.
	Health func(host string) string

	// Audit, if set, hears of each operation that was to change something, at its end. It
	// must not wait.
	Audit func(Done)

	// Reload reads the configuration again.
	Reload func(ctx context.Context) (*Reloaded, error)
}

// UserNames knows the form of users' names, and those that are listed.
type UserNames interface {
	Normalize(name string) (string, error)
	List(ctx context.Context, pattern string) ([]string, error)
}

// Caller is who calls an operation.
type Caller struct {
	Name    string // of a token, or the system's user
	From    string // an address, or the socket
	Operate bool   // may call what changes something
}

// Done is an operation that was to change something.
type Done struct {
	Op    *Operation
	Args  string // on one line
	Who   Caller
	Asked bool  // it was handed on to another node
	Err   error // why it was not done, or not to its end
}

// call is one call of an operation.
type call struct {
	*Admin
	op   *Operation
	args Args
	who  Caller
	tell func(Progress)

	everywhere bool // as if --all were given
	asked      bool // the holder of the mail was
}

// Call runs an operation. tell, which may be nil, is called with Progress from the
// calling goroutine. The error is an *imap.Error, whose Text is for the caller;
// what was changed, or tried to, is in the log.
func (a *Admin) Call(ctx context.Context, who Caller, op *Operation, args Args, tell func(Progress)) (Result, error) {
	if tell == nil {
		tell = func(Progress) {}
	}
	c := &call{Admin: a, op: op, args: args, who: who, tell: tell}
	began := time.Now()
	res, err := c.do(ctx)
	if err != nil {
		err = known(ctx, err)
	}
	if c.changes() {
		a.audit(c, time.Since(began), err)
	} else if imap.CodeOf(err) == imap.CodeServerBug {
		a.Log.Error("operation failed", "operation", op.Name, "args", argsText(args), "error", err)
	}
	return res, err
}

func (c *call) changes() bool {
	return c.op.Changes != "" && !c.args.is(c.op.DryRun) && (c.op.OnlyWith == "" || c.args.is(c.op.OnlyWith))
}

func (c *call) do(ctx context.Context) (Result, error) {
	if c.changes() && !c.who.Operate {
		return nil, imap.Errorf(imap.CodeNoPerm, "%s may look, and not change %s", c.who.Name, c.op.Changes)
	}
	return c.op.run(ctx, c)
}

// audit tells who has done what, also to the log.
func (a *Admin) audit(c *call, took time.Duration, err error) {
	args := argsText(c.args)
	if a.Audit != nil {
		a.Audit(Done{Op: c.op, Args: args, Who: c.who, Asked: c.asked, Err: err})
	}
	log := a.Log.With("operation", c.op.Name, "args", args, "by", c.who.Name, "from", c.who.From, "took", took.Round(time.Millisecond))
	if err != nil {
		log.Warn("administrator's change was not done, or not to its end", "error", err)
		return
	}
	log.Info("administrator's change")
}

// argsText is the arguments on one line, a value quoted that could be taken for several.
func argsText(args Args) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		value := fmt.Sprintf("%.200s", args[name])
		if strings.ContainsFunc(value, func(r rune) bool { return r == ' ' || r == '"' || !unicode.IsPrint(r) }) {
			value = strconv.Quote(value)
		}
		words = append(words, name+"="+value)
	}
	return strings.Join(words, " ")
}

// known gives every error a code: what ran out of time is UNAVAILABLE.
func known(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*imap.Error](err); ok {
		return err
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return imap.Wrap(imap.CodeUnavailable, "Not done in time", err)
	}
	return imap.AsError(err)
}

// Errors of names, which have exit codes of their own.
var (
	errNoHost = errors.New("no such backend")
	errNoBox  = errors.New("no such mailbox")
)

// noHost is the error for a backend that is not known.
func noHost(host string) error {
	return imap.Wrap(imap.CodeNonExistent, fmt.Sprintf("backend %s doesn't exist", host), errNoHost)
}

// FromPeer is an error that another node's API has answered.
func FromPeer(code, text string, exit int) error {
	e := &imap.Error{Code: imap.Code(code), Text: text, Bad: exit == ExitUsage}
	if exit == ExitNotFound {
		e.Err = errNoBox
	}
	return e
}

// Exit codes, as doveadm has them.
const (
	ExitFailed    = 1
	ExitUsage     = 64
	ExitNoUser    = 67
	ExitNotFound  = 68
	ExitTemporary = 75
	ExitNoPerm    = 77
)

// ExitCode is what a command line that called an operation ends with.
func ExitCode(err error) int {
	e := imap.AsError(err)
	switch {
	case err == nil:
		return 0
	case e.Bad:
		return ExitUsage
	case errors.Is(err, errNoHost), errors.Is(err, errNoBox):
		return ExitNotFound
	}
	switch e.Code {
	case imap.CodeNonExistent:
		return ExitNoUser
	case imap.CodeUnavailable, imap.CodeInUse:
		return ExitTemporary
	case imap.CodeNoPerm, imap.CodeAuthenticationFailed:
		return ExitNoPerm
	}
	return ExitFailed
}

// user is an argument as the cluster knows the user.
func (c *call) user(name string) (string, error) {
	user, err := c.Users.Normalize(c.args.word(name))
	if err != nil {
		return "", imap.Wrap(imap.CodeNonExistent, fmt.Sprintf("%q can't be a user's name", c.args.word(name)), err)
	}
	return user, nil
}

// cluster is Cluster, if this node has one.
func (c *call) cluster() (Cluster, error) {
	if c.Cluster == nil {
		return nil, imap.Errorf(imap.CodeCannot, "%s: this node knows no other backends: call a director", c.op.Name)
	}
	return c.Cluster, nil
}

// coordinated is Cluster, if it has a coordinator.
func (c *call) coordinated() (Coordinated, error) {
	if cl, ok := c.Cluster.(Coordinated); ok {
		return cl, nil
	}
	return nil, imap.Errorf(imap.CodeCannot, "%s needs a coordinator: cluster = … in the configuration", c.op.Name)
}
