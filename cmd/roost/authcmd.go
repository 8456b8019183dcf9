package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
)

// exitError is an error with an exit code of sysexits.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

// The exit codes of logins and lookups, as doveadm has them.
const (
	exitNoUser    = 67 // the user does not exist
	exitTemporary = 75 // nothing is known now
	exitNoPerm    = 77 // the login is refused
)

func authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Try a login as a server with this configuration would judge it",
		Long: `Asks the passdbs and userdbs of a configuration file itself: it talks to no
server, and waits and counts no failures. Exit codes: 0 the login succeeds, 77 it
is refused, 75 a user database gave no answer.`,
	}
	cmd.AddCommand(authTryCommand("test", "Check a password against the passdbs", false),
		authTryCommand("login", "Check a login against passdbs and userdbs", true))
	return cmd
}

// authFlags are the flags of auth test and auth login.
type authFlags struct {
	file, master string
	extra        []string
	json         bool
}

func authTryCommand(name, short string, userdb bool) *cobra.Command {
	var f authFlags
	cmd := &cobra.Command{
		Use:   name + " -c FILE [-M MASTER] [-x KEY=VALUE]... USER [PASSWORD]",
		Short: short,
		Long: short + `, and print the fields that they
give. The password is asked for if it is not given. -x says what else is known of
the login: service, session, mechanism, rip and lip (addresses), real_rip, secured.`,
		Example: "  roost auth " + name + " -c roost.conf alice\n  roost auth " + name + " -c roost.conf -x rip=192.0.2.1 alice secret",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{fmt.Errorf("usage: roost auth %s -c FILE USER [PASSWORD]", name)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args, userdb) },
	}
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file")
	cmd.Flags().StringVarP(&f.master, "master", "M", "", "log in as this master user, whose password it is")
	cmd.Flags().StringArrayVarP(&f.extra, "extra", "x", nil, "KEY=VALUE that is known of the login")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func (f *authFlags) run(cmd *cobra.Command, args []string, userdb bool) error {
	a, err := loadAuth(cmd, f.file)
	if err != nil {
		return err
	}
	req, err := f.request(args[0])
	if err != nil {
		return err
	}
	given := ""
	if len(args) > 1 {
		given = args[1]
	}
	if req.Password, err = givenPassword(cmd, given, "Password: "); err != nil {
		return err
	}
	try := a.Check
	if userdb {
		try = a.Authenticate
	}
	res, err := try(cmd.Context(), req)
	return f.print(cmd.OutOrStdout(), args[0], res, err, userdb)
}

// request is the login that the flags describe.
func (f *authFlags) request(user string) (auth.Request, error) {
	req := auth.Request{AuthID: user, Mechanism: "PLAIN", Service: "imap"}
	if f.master != "" {
		req.AuthzID, req.AuthID = user, f.master
	}
	for _, word := range f.extra {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "service":
			req.Service = value
		case "session":
			req.SessionID = value
		case "mechanism", "mech":
			req.Mechanism = value
		case "secured":
			req.Secured = value != "no"
		case "rip":
			req.RemoteAddr, err = netip.ParseAddr(value)
		case "real_rip":
			req.PeerAddr, err = netip.ParseAddr(value)
		case "lip":
			req.LocalAddr, err = netip.ParseAddr(value)
		default:
			err = errors.New("unknown; there are service, session, mechanism, secured, rip, real_rip, lip")
		}
		if err != nil {
			return req, usageError{fmt.Errorf("-x %s: %w", word, err)}
		}
	}
	return req, nil
}

// authAnswer is the JSON form of what auth test and login print.
type authAnswer struct {
	User    string      `json:"user"`
	Acting  string      `json:"acting,omitempty"`
	OK      bool        `json:"ok"`
	Reason  string      `json:"reason,omitempty"`
	Passdb  auth.Fields `json:"passdb,omitempty"`
	Userdb  auth.Fields `json:"userdb,omitempty"`
	Groups  []string    `json:"groups,omitempty"`
	failure error
}

// print shows the answer as doveadm does; the reason of a failure goes to the
// administrator alone, who runs this command.
func (f *authFlags) print(out io.Writer, user string, res *auth.Result, err error, userdb bool) error {
	answer := authAnswer{User: user, OK: err == nil, failure: loginError(err)}
	if err != nil {
		answer.Reason = reason(err)
	} else {
		answer.User, answer.Passdb, answer.Groups = res.User, res.Fields, res.Groups
		if res.Master() {
			answer.Acting = res.Acting
		}
		if userdb {
			answer.Userdb = res.UserFields
		}
	}
	if f.json {
		if err := printJSON(out, answer); err != nil {
			return err
		}
	} else {
		answer.text(out)
	}
	return answer.failure
}

func (a *authAnswer) text(out io.Writer) {
	if !a.OK {
		fmt.Fprintf(out, "passdb: %s auth failed\n  %s\n", a.User, a.Reason)
		return
	}
	fmt.Fprintf(out, "passdb: %s auth succeeded\nextra fields:\n  user=%s\n", a.User, a.User)
	if a.Acting != "" {
		fmt.Fprintf(out, "  master_user=%s\n", a.Acting)
	}
	printFields(out, a.Passdb)
	if a.Userdb == nil {
		return
	}
	fmt.Fprintf(out, "userdb extra fields:\n  %s\n", a.User)
	printFields(out, a.Userdb)
	if len(a.Groups) > 0 {
		fmt.Fprintf(out, "  acl_groups=%s\n", strings.Join(a.Groups, ","))
	}
}

func printFields(out io.Writer, fields auth.Fields) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(out, "  %s=%s\n", name, fields[name])
	}
}

// loginError is err with its exit code, its text already said.
func loginError(err error) error {
	switch {
	case err == nil:
		return nil
	case imap.CodeOf(err) == imap.CodeUnavailable:
		return exitError{errSaid, exitTemporary}
	}
	return exitError{errSaid, exitNoPerm}
}

// reason is an error's cause, which its own text hides from clients.
func reason(err error) string {
	if e, ok := errors.AsType[*imap.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// loadAuth makes the Authenticator of a configuration file. Refusals take no
// longer than they have to; what is wrong with files goes to standard error.
func loadAuth(cmd *cobra.Command, file string) (*auth.Authenticator, error) {
	if file == "" {
		return nil, usageError{errors.New("name the configuration file: -c FILE")}
	}
	set, _, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := authConfig(set, log)
	cfg.FailureDelay, cfg.MaxPenalty = 0, 0
	return auth.New(cfg)
}

func userCommand() *cobra.Command {
	var f userFlags
	cmd := &cobra.Command{
		Use:   "user -c FILE [-f FIELD] USER...",
		Short: "Show what the userdbs know of users",
		Long: `Prints the fields of each user, or with -f the value of one. A name with the
wildcards * or ? lists the users who match it, where the userdb is a file. Exit
codes: 67 a user does not exist, 75 a user database gave no answer.`,
		Example: "  roost user -c roost.conf alice\n  roost user -c roost.conf -f home alice\n  roost user -c roost.conf '*@example.org'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("usage: roost user -c FILE USER [USER]")}
			}
			return nil
		},
		RunE: f.run,
	}
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file")
	cmd.Flags().StringVarP(&f.field, "field", "f", "", "print the value of this field only")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// userFlags are the flags of roost user.
type userFlags struct {
	file, field string
	json        bool
}

func (f *userFlags) run(cmd *cobra.Command, args []string) error {
	a, err := loadAuth(cmd, f.file)
	if err != nil {
		return err
	}
	var failure error
	for _, arg := range args {
		if strings.ContainsAny(arg, "*?") {
			err = f.list(cmd.Context(), cmd.OutOrStdout(), a, arg)
		} else {
			err = f.show(cmd.Context(), cmd.OutOrStdout(), a, arg)
		}
		if err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "roost: user %s: %s\n", arg, reason(err))
			failure = lookupError(err)
		}
	}
	return failure
}

// errNoField is the cause where a user has not the field that was asked for.
var errNoField = errors.New("no field")

func lookupError(err error) error {
	switch {
	case errors.Is(err, errNoField):
		return errSaid
	case imap.CodeOf(err) == imap.CodeNonExistent:
		return exitError{errSaid, exitNoUser}
	}
	return exitError{errSaid, exitTemporary}
}

func (f *userFlags) list(ctx context.Context, out io.Writer, a *auth.Authenticator, pattern string) error {
	names, err := a.List(ctx, pattern)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(out, names)
	}
	for _, name := range names {
		fmt.Fprintln(out, name)
	}
	return nil
}

func (f *userFlags) show(ctx context.Context, out io.Writer, a *auth.Authenticator, user string) error {
	res, err := a.Lookup(ctx, user)
	if err != nil {
		return err
	}
	fields := maps.Clone(res.UserFields)
	if len(res.Groups) > 0 {
		fields["acl_groups"] = strings.Join(res.Groups, ",")
	}
	switch value, ok := fields[f.field]; {
	case f.field != "" && !ok:
		return fmt.Errorf("%w %s", errNoField, f.field)
	case f.field != "":
		fmt.Fprintln(out, value)
		return nil
	case f.json:
		return printJSON(out, map[string]any{"user": res.User, "fields": fields})
	}
	fmt.Fprintf(out, "field\tvalue\nuser\t%s\n", res.User)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(out, "%s\t%s\n", name, fields[name])
	}
	return nil
}
