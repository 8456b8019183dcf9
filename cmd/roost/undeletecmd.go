package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/store"
)

func undeleteCommand() *cobra.Command {
	var file, since, into string
	var filter store.KeptFilter
	var list bool
	cmd := &cobra.Command{
		Use:   "undelete -c FILE USER [--mailbox NAME] [--since TIME] [--into NAME] [--list]",
		Short: "Bring expunged messages back",
		Long: `Brings back what was expunged less than mail_expunge_keep ago, and the messages of
deleted mailboxes: each into the mailbox it was in, which is made again if it is
gone, or all into the mailbox that --into names. Flags and dates are as they were;
UIDs are new, and readers of a shared mailbox find the messages unseen.

--list only shows what there is. The user's mail must be closed: no session of the
user's, or of others on mailboxes the user shares, for half a minute.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("usage: roost undelete -c FILE USER")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if since != "" {
				if filter.Since, err = parseWhen(since, time.Now()); err != nil {
					return err
				}
			}
			o, err := newOffline(file)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.store.Close()) }()
			user, _, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return o.alone(cmd.Context(), user, func() error {
				mail, err := o.open(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				defer mail.Close()
				if list {
					return listKept(mail, filter, cmd.OutOrStdout())
				}
				n, err := mail.Undelete(cmd.Context(), filter, into)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d messages are back\n", args[0], n)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.Flags().StringVar(&filter.Mailbox, "mailbox", "", "only what was expunged from this mailbox")
	cmd.Flags().StringVar(&since, "since", "", "only what was expunged since then: 2026-11-26, \"2026-11-26 15:04\", 90m or 2d ago")
	cmd.Flags().StringVar(&into, "into", "", "the mailbox to put the messages into")
	cmd.Flags().BoolVar(&list, "list", false, "show what can be brought back")
	return cmd
}

// listKept shows what can be brought back, a line each.
func listKept(mail *store.Session, filter store.KeptFilter, w io.Writer) error {
	all, err := mail.Kept(filter)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "EXPUNGED\tMAILBOX\tUID\tSIZE\tRECEIVED\tFLAGS\tSUBJECT")
	for i := range all {
		k := &all[i]
		name := k.Mailbox
		if k.Deleted {
			name += " (deleted)"
		}
		header, err := mail.KeptHeader(k, "Subject")
		if err != nil {
			header = []byte("Subject: (" + imap.AsError(err).Text + ")")
		}
		_, subject, _ := strings.Cut(string(header), ":")
		fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", k.Expunged.Format(time.DateTime), printable(name), k.UID, k.Size,
			k.Date.Format(time.DateTime), flagNames(k.Flags), printable(subject))
	}
	return out.Flush()
}

func flagNames(flags []imap.Flag) string {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = string(f)
	}
	return strings.Join(names, " ")
}

// printable is text for one column of a terminal.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 60 {
		text = string(r[:59]) + "…"
	}
	return text
}
