package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/store"
)

func backupCommand() *cobra.Command {
	var file string
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "backup -c FILE USER DIR | backup -c FILE --all DIR",
		Short: "Copy mail while it is in use",
		Long: `Copies a user's mail, or with --all that of everybody below the mail_volumes, to
DIR/USER. If a backup is there, only what is new is copied. The copy is always whole, and
roost store check reads it; keep older ones by snapshots of DIR, or hard links.

The mail may be in use. What was written in the last moment may be missing.`,
		Args: func(_ *cobra.Command, args []string) error {
			if all && len(args) != 1 || !all && len(args) != 2 {
				return usageError{errors.New("usage: roost backup -c FILE USER DIR, or --all DIR")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o, err := newOffline(file)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.store.Close()) }()
			b := backupRun{cmd: cmd, to: args[len(args)-1], json: asJSON}
			if all {
				return b.all(o)
			}
			_, dir, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return b.one(dir)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.Flags().BoolVar(&all, "all", false, "all mail below the mail_volumes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each user")
	return cmd
}

// backupRun is one call of roost backup.
type backupRun struct {
	cmd    *cobra.Command
	to     string
	json   bool
	done   int
	failed int
}

// all backs up every account below the volumes. One that fails does not keep
// the others from it.
func (b *backupRun) all(o *offline) error {
	volumes := o.set.Mail.Volumes
	if len(volumes) == 0 {
		return errors.New("--all needs mail_volume: it says where to look for mail")
	}
	for _, root := range volumes {
		if _, err := store.VolumeID(root); err != nil {
			return fmt.Errorf("volume %s is not there: %w", root, err)
		}
		err := store.Find(root, func(dir string) error {
			if err := b.one(dir); err != nil {
				b.failed++
				fmt.Fprintf(b.cmd.ErrOrStderr(), "%s: %v\n", dir, err)
			}
			return b.cmd.Context().Err()
		})
		if err != nil {
			return err
		}
	}
	if b.failed > 0 {
		return fmt.Errorf("%d of %d backups failed", b.failed, b.failed+b.done)
	}
	return nil
}

// one backs up the account in dir and tells of it.
func (b *backupRun) one(dir string) error {
	user, err := store.UserOf(dir)
	if err != nil {
		return err
	}
	report, err := store.Backup(b.cmd.Context(), dir, filepath.Join(b.to, backupName(user)))
	if err != nil {
		return err
	}
	b.done++
	return b.tell(b.cmd.OutOrStdout(), &report)
}

func (b *backupRun) tell(w io.Writer, r *store.BackupReport) error {
	if b.json {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "%s: %d files, %d bytes; copied %d files, %d bytes\n", r.User, r.Files, r.Bytes, r.Copied, r.Sent)
	return err
}

// backupName is the name of a user's directory in a backup.
func backupName(user string) string {
	name := url.PathEscape(user)
	if strings.HasPrefix(name, ".") {
		name = "%2E" + name[1:]
	}
	return name
}

func restoreCommand() *cobra.Command {
	var file, from string
	var newValidity bool
	cmd := &cobra.Command{
		Use:   "restore -c FILE DIR USER [--from NAME] [--new-uidvalidity]",
		Short: "Make a backup a user's mail",
		Long: `Copies the backup in DIR/USER, or that of another user with --from, to where the
configuration has the user's mail. There must be none: move the old directory away first.

UIDs go on more than a million above those of the backup, so that none is given out again,
and clients take over what they have. If more may have been given out since, or the mail is
restored beside the original, say --new-uidvalidity: clients then load all anew.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{errors.New("usage: roost restore -c FILE DIR USER")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o, err := newOffline(file)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.store.Close()) }()
			user, dir, err := o.find(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			if from == "" {
				from = user
			}
			source := filepath.Join(args[0], backupName(from))
			if _, err := os.Stat(source); err != nil {
				return fmt.Errorf("there is no backup of %s: %w", from, err)
			}
			err = o.alone(cmd.Context(), user, func() error {
				return store.Restore(cmd.Context(), o.opts, source, user, dir, newValidity)
			})
			if err != nil {
				if errors.Is(err, store.ErrInUse) {
					return inUse(user)
				}
				return fmt.Errorf("restore %s: %w", user, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: restored\n", user)
			return store.Check(dir, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.Flags().StringVar(&from, "from", "", "whose backup it is, if not USER's own")
	cmd.Flags().BoolVar(&newValidity, "new-uidvalidity", false, "give all mailboxes new UIDVALIDITYs and ids")
	return cmd
}
