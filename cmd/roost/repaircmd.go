package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/store"
)

func storeRepairCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "repair -c FILE USER",
		Short: "Make damaged mail sound again, as far as it goes",
		Long: `Takes out of use what can't be read, and keeps it in lost+found in the user's mail
directory: nothing is deleted. The mail must be closed. A backup that is good is better:
see roost restore. Prints what it does, and what check says afterwards.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("usage: roost store repair -c FILE USER")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o, err := newOffline(*file)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.store.Close()) }()
			user, dir, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = o.alone(cmd.Context(), user, func() error {
				return store.Repair(cmd.Context(), o.opts, user, dir, cmd.OutOrStdout())
			})
			if errors.Is(err, store.ErrInUse) {
				return inUse(user)
			}
			return err
		},
	}
}
