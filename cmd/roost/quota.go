package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/store"
)

func quotaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "quota", Short: "Look at quotas"}
	var file, user string
	var asJSON bool
	get := &cobra.Command{
		Use:   "get -c FILE -u USER",
		Short: "Show what a user's mail takes, and may take",
		Long:  "Reads the user's mail on this machine's disk, which may be in use meanwhile.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" || user == "" || len(args) > 0 {
				return usageError{errors.New("usage: roost quota get -c FILE -u USER")}
			}
			return showQuota(cmd, file, user, asJSON)
		},
	}
	get.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	get.Flags().StringVarP(&user, "user", "u", "", "whose mail")
	get.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(get)
	return cmd
}

// quotaLine is a resource of a quota. Storage is in units of 1024 bytes; a limit of
// 0 is none.
type quotaLine struct {
	Quota string `json:"quota"`
	Type  string `json:"type"`
	Value uint64 `json:"value"`
	Limit uint64 `json:"limit,omitempty"`
}

// showQuota prints a line a resource, as doveadm quota get does.
func showQuota(cmd *cobra.Command, file, name string, asJSON bool) error {
	set, _, err := config.Load(file)
	if err != nil {
		return err
	}
	users, err := auth.New(authConfig(set, slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	res, err := users.Lookup(cmd.Context(), name)
	if err != nil {
		return shownError(lookupFailure(name, err))
	}
	dir, own, err := mailDir(set, res)
	if err != nil {
		return err
	}
	policy := quotaPolicy(own.Quota)
	if policy == nil {
		return fmt.Errorf("user %s has no quota", name)
	}
	used, err := store.Usage(dir, policy)
	if err != nil {
		return err
	}
	lines := []quotaLine{
		{policy.Root, "STORAGE", (used.Storage + 1023) / 1024, policy.Storage / 1024},
		{policy.Root, "MESSAGE", used.Messages, policy.Messages},
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), lines)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "Quota name\tType\tValue\tLimit\t%")
	for _, l := range lines {
		limit, percent := "-", "0"
		if l.Limit > 0 {
			limit, percent = fmt.Sprint(l.Limit), fmt.Sprintf("%.0f", 100*float64(l.Value)/float64(l.Limit))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", l.Quota, l.Type, l.Value, limit, percent)
	}
	return w.Flush()
}

// quotaPolicy is a quota as the owner's home keeps it, nil without one.
func quotaPolicy(q *config.Quota) *mailbox.QuotaPolicy {
	if q == nil {
		return nil
	}
	p := &mailbox.QuotaPolicy{
		Root: q.Name, Storage: q.Storage, Messages: q.Messages, Grace: q.Grace,
		MaxMessage: int64(min(q.MaxMailSize, math.MaxInt64)), Exceeded: q.Exceeded, Lax: q.NoEnforcing, Hidden: q.Hidden,
	}
	for _, r := range q.Rules {
		p.Rules = append(p.Rules, mailbox.QuotaRule(r))
	}
	return p
}
