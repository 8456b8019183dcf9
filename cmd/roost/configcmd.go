package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show a configuration file"}
	cmd.AddCommand(configCheckCommand(), configShowCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a file, with line numbers",
		Long:  "Reads FILE and all it includes, prints every error and warning as file:line: text,\nand fails if there is an error.",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !config.Check(cmd.OutOrStdout(), args[0]) {
				return errSaid
			}
			return nil
		},
	}
}

func configShowCommand() *cobra.Command {
	var onlyChanged, secrets bool
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show the settings of a file",
		Long:  "Shows all settings as they hold. Passwords are hidden unless -P is given.",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			set, _, err := config.Load(args[0])
			if err != nil {
				return err
			}
			return config.Show(cmd.OutOrStdout(), set, config.ShowOptions{NonDefault: onlyChanged, Secrets: secrets})
		},
	}
	cmd.Flags().BoolVarP(&onlyChanged, "non-default", "n", false, "only what differs from the default")
	cmd.Flags().BoolVarP(&secrets, "passwords", "P", false, "show passwords too")
	return cmd
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("expected one FILE, got %d arguments", len(args))}
	}
	return nil
}
