package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/store"
)

func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look into mail on disk",
		Long: `Looks into one user's mail, which is named by its directory, or by the user with
-c FILE. check, dump and cat only read: they take no lock and write nothing, and
the mail may be in use meanwhile.`,
	}
	var file string
	cmd.PersistentFlags().StringVarP(&file, "config", "c", "", "configuration file; the argument is then a user, not a directory")
	cmd.AddCommand(storeCheckCommand(&file), storeDumpCommand(&file), storeCatCommand(&file), storeTakeoverCommand(&file), storeRepairCommand(&file), storeInitCommand())
	return cmd
}

// storeCommandOf is a command that works on one account's directory.
func storeCommandOf(use, short, long string, args int, file *string, run func(cmd *cobra.Command, user, dir string, rest []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(_ *cobra.Command, given []string) error {
			if len(given) != args {
				return usageError{fmt.Errorf("usage: roost store %s", use)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			user, dir, err := findMail(cmd.Context(), *file, given[0])
			if err != nil {
				return err
			}
			return run(cmd, user, dir, given[1:])
		},
	}
}

func storeCheckCommand(file *string) *cobra.Command {
	return storeCommandOf("check [-c FILE] DIR|USER", "Verify a user's mail",
		"Reads everything, bodies included, and prints what is wrong. Fails if anything is.", 1, file,
		func(cmd *cobra.Command, _, dir string, _ []string) error { return store.Check(dir, cmd.OutOrStdout()) })
}

func storeDumpCommand(file *string) *cobra.Command {
	return storeCommandOf("dump [-c FILE] DIR|USER", "Show what is in a user's mail, without the messages",
		"Shows manifest, segments, mailboxes and records.", 1, file,
		func(cmd *cobra.Command, _, dir string, _ []string) error { return store.Dump(dir, cmd.OutOrStdout()) })
}

func storeCatCommand(file *string) *cobra.Command {
	return storeCommandOf("cat [-c FILE] DIR|USER MAILBOX UID", "Print one message",
		"Prints the message as it was received.", 3, file,
		func(cmd *cobra.Command, _, dir string, rest []string) error {
			uid, err := strconv.ParseUint(rest[1], 10, 32)
			if err != nil || uid == 0 {
				return usageError{fmt.Errorf("%q is no UID", rest[1])}
			}
			return store.Cat(dir, rest[0], imap.UID(uid), cmd.OutOrStdout())
		})
}

func storeTakeoverCommand(file *string) *cobra.Command {
	return storeCommandOf("takeover -c FILE USER", "Let another backend open mail that its last one did not close",
		`A backend that died leaves its name in the manifests of the mail it had open, and
no other backend opens that mail. Say takeover only when you are sure that the
old backend is not running: two backends that write one user's mail lose mail.`, 1, file,
		func(cmd *cobra.Command, user, dir string, _ []string) error {
			if user == "" {
				return usageError{fmt.Errorf("takeover needs -c FILE and a user")}
			}
			o, err := newOffline(*file)
			if err != nil {
				return err
			}
			defer o.store.Close() //nolint:errcheck // nothing was opened
			var from string
			err = o.alone(cmd.Context(), user, func() (err error) {
				from, err = store.Takeover(user, dir)
				return err
			})
			if err != nil {
				return err
			}
			if from == "" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: was closed cleanly, nothing to take over\n", user)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: taken over from %s\n", user, from)
			return nil
		})
}

func storeInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Mark the root of a filesystem that holds mail (mail_volume)",
		Long: `Writes the marker that mail_volume asks for into DIR. Do it once for each
filesystem, while it is mounted: a backend that does not see the marker opens no
mail there, so that an unmounted filesystem never looks like empty mailboxes.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("usage: roost store init DIR")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := store.InitVolume(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is volume %s\n", args[0], id)
			return nil
		},
	}
}

// findMail is the directory of a user's mail as a configuration says, or arg
// itself without one.
func findMail(ctx context.Context, file, arg string) (user, dir string, err error) {
	if file == "" {
		return "", arg, nil
	}
	set, _, err := config.Load(file)
	if err != nil {
		return "", "", err
	}
	a, err := auth.New(authConfig(set, slog.New(slog.DiscardHandler)))
	if err != nil {
		return "", "", err
	}
	res, err := a.Lookup(ctx, arg)
	if err != nil {
		return "", "", shownError(lookupFailure(arg, err))
	}
	if dir, _, err = mailDir(set, res); err == nil {
		err = mailThere(set, res.User, dir)
	}
	if err != nil {
		err = shownError(err)
	}
	return res.User, dir, err
}
