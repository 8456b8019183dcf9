// Command roost is an IMAP cluster in one program: directors, backends, and
// the commands to run and look into them.
//
// Its files are a list of what is built in which order: node.go puts the
// packages together for one configuration file, stack.go the accounts of one
// session, and the others are a command each. What things do is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/admin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "roost:", err)
		}
		os.Exit(exitCode(err))
	}
}

// errSaid is an error whose text has been printed already.
var errSaid = errors.New("failed")

// usageError is a wrong command line: exit code 64, as sysexits has it.
type usageError struct{ error }

// Set by dist/build with -ldflags -X. Other builds know of themselves by the module system.
var buildVersion, buildCommit string

// version is that of the build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case buildVersion != "":
		return buildVersion
	case !ok || info.Main.Version == "":
		return "unknown"
	}
	return info.Main.Version
}

// commit is the revision that it was built from, with a + if files were changed.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if buildCommit != "" || !ok {
		return buildCommit
	}
	revision, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	return revision + changed
}

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return 64
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		return exit.code
	}
	return admin.ExitCode(err)
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "roost",
		Short: "An IMAP cluster whose users share mailboxes across backends",
		Long: `Roost is an IMAP cluster in one program: directors send each user to one
backend, backends keep the mail, and users share mailboxes with each other
although they live on different backends. It reads Dovecot 2.3's configuration.

  roost demo                     try it: a director, two backends, a shared mailbox
  roost serve -c roost.conf      run what the file configures
  roost config check roost.conf  what is wrong with a file, with line numbers`,
		Version:       version() + " (commit " + commit() + ")",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
			return cmd.RunE(cmd, words) // which says that there is no such command
		}
		return usageError{err}
	})
	root.AddCommand(
		serveCommand(), reloadCommand(), demoCommand(), configCommand(), authCommand(), userCommand(), pwCommand(),
		storeCommand(), quotaCommand(), dictCommand(), undeleteCommand(), backupCommand(), restoreCommand(), tokenCommand(),
	)
	root.AddCommand(adminCommands()...)
	requireSubcommands(root)
	return root
}

// requireSubcommands makes a mistyped command a wrong command line, at each level.
func requireSubcommands(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		requireSubcommands(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args, cmd.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = " (did you mean " + strings.Join(near, " or ") + "?)"
		}
		return usageError{fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)}
	}
}
